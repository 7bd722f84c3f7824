# SPDX-License-Identifier: Apache-2.0
"""An engine model that is far faster than any orchestrator over it, to measure those with."""
