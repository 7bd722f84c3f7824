# SPDX-License-Identifier: Apache-2.0
"""The Triton models: they connect the core, the text layer and the engines to Triton."""
