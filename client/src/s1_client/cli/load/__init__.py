# SPDX-License-Identifier: Apache-2.0
"""The commands that put a server under load and report on it: ``s1 loadtest`` and ``s1 report``."""
