# SPDX-License-Identifier: Apache-2.0
"""The commands that start a server or look at one: ``s1 serve``, ``doctor`` and ``models``."""
