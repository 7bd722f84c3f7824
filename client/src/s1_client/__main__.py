# SPDX-License-Identifier: Apache-2.0
"""Entry point of the command ``s1``. Its packages are an extra: a program that uses the library needs none of them."""

from __future__ import annotations

import sys

from s1_client._suggest import how_to_install


def main() -> None:
    """Run the command ``s1``, or say how to install its packages."""
    try:
        from s1_client.cli.app import s1
    except ImportError as error:
        sys.exit(f"s1: {error}; the command needs more packages than the library: {how_to_install('cli')}")
    s1(prog_name="s1")


if __name__ == "__main__":
    main()
