# SPDX-License-Identifier: Apache-2.0
"""Decide whether an answer is right: find its statement of the result, convert it, and compare it with the reference."""
