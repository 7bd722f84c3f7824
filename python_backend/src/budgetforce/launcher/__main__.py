# SPDX-License-Identifier: Apache-2.0
"""``python -m budgetforce.launcher``, which ``s1 serve`` starts."""

import sys

from budgetforce.launcher.command import main

if __name__ == "__main__":
    sys.exit(main())
