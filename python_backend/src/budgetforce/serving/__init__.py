# SPDX-License-Identifier: Apache-2.0
"""The Triton models: thin shells around the core, the text layer and the engines."""
