# SPDX-License-Identifier: Apache-2.0
"""Bundled tasks: files of questions, and the scripts that generate them."""
