# SPDX-License-Identifier: Apache-2.0
"""Load tests of a budget-forcing server: scenarios, two drivers and the record of a run. The command is ``s1 loadtest``."""
