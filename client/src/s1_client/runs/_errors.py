# SPDX-License-Identifier: Apache-2.0
"""Errors that end a run. Each message is a sentence for the user.

RunError
├── Refused      the input, the folder or the file of results does not fit; the message says which value is allowed
└── WriteFailed  the results could not be written, as on a full disk
"""

from __future__ import annotations


class RunError(Exception):
    """Base class of the errors that end a run."""


class Refused(RunError):
    """The input or the folder does not fit the run; the message names the remedy."""


class WriteFailed(RunError):
    """The results could not be written."""
