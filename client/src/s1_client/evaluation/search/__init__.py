# SPDX-License-Identifier: Apache-2.0
"""REBASE tree search: ask for steps, score them with a reward model, and expand the most promising."""
