# SPDX-License-Identifier: Apache-2.0
"""Conversion between text and token ids."""
