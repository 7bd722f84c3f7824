# SPDX-License-Identifier: Apache-2.0
"""Parts that the figures of several commands share: axes, colours, lines and labels. Importing them imports matplotlib."""
