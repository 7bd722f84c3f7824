# SPDX-License-Identifier: Apache-2.0
"""Resumable runs: many requests, and a file of results from which a stopped run continues.

The commands and the evaluation share this store. It imports neither of them, writes no more than ``Progress`` does, and
raises ``RunError`` where a command would end with a message.
"""

from s1_client.runs._errors import Refused, RunError, WriteFailed
from s1_client.runs._folder import check_same_run, load_manifest, make_folder, save_manifest, write_text
from s1_client.runs._progress import PERIOD_S, Progress
from s1_client.runs._requests import BadLine, BatchRequest, digest, digest_of
from s1_client.runs._results import Results, entries_in, open_results, result_line
from s1_client.runs._run import find_missing, keep_on_stop, run
from s1_client.runs._tally import MAX_UNREACHED, Tally, duration

__all__ = [
    "MAX_UNREACHED",
    "PERIOD_S",
    "BadLine",
    "BatchRequest",
    "Progress",
    "Refused",
    "Results",
    "RunError",
    "Tally",
    "WriteFailed",
    "check_same_run",
    "digest",
    "digest_of",
    "duration",
    "entries_in",
    "find_missing",
    "keep_on_stop",
    "load_manifest",
    "make_folder",
    "open_results",
    "result_line",
    "run",
    "save_manifest",
    "write_text",
]
