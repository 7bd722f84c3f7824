# SPDX-License-Identifier: Apache-2.0
"""Parts that the figures of several commands share. Everything here imports matplotlib or is imported by what does."""
