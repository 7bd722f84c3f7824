# SPDX-License-Identifier: Apache-2.0
"""Supervised fine-tuning on a published training set: recipes, plans and runs. Build-time code: nothing that serves imports it."""
