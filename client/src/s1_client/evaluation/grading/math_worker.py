# SPDX-License-Identifier: Apache-2.0
"""The worker process of ``math_verifier``: reads lines of JSON, [reference, answer], and writes "true" or "false" for each."""

from __future__ import annotations

import json
import logging
import resource
import sys

from math_verify import parse, verify

from s1_client.evaluation.grading.math_verifier import READY

_MEMORY_BYTES = 4 * 2**30


def main() -> None:
    """Answer every line of stdin until it ends."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    logging.disable(logging.WARNING)  # math-verify warns that it has no timeout here; the parent process has it
    print(READY, flush=True)
    for line in sys.stdin:
        reference, answer = json.loads(line)
        print(json.dumps(_is_same(reference, answer)), flush=True)


def _is_same(reference: str, answer: str) -> bool:
    try:
        gold = parse(f"\\boxed{{{reference}}}", parsing_timeout=None)
        return bool(verify(gold, parse(answer, parsing_timeout=None), timeout_seconds=None))
    except MemoryError:
        raise  # the process dies, and the parent logs it
    except Exception:  # noqa: BLE001  # math-verify fails on some input, for example a number of thousands of digits
        return False


if __name__ == "__main__":
    main()
