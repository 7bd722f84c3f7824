# SPDX-License-Identifier: Apache-2.0
"""The commands that show one reply or a conversation: ``s1 ask`` and ``s1 chat``."""
