# SPDX-License-Identifier: Apache-2.0
"""Decide whether an answer is right: find what it states, convert it, and compare it with the reference."""
