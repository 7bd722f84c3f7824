# SPDX-License-Identifier: Apache-2.0
"""The process of ``_math``: a line of JSON in, [reference, answer]; "true" or "false" out."""

from __future__ import annotations

import json
import logging
import resource
import sys

from math_verify import parse, verify

from s1_client.evaluation.grading.math_verifier import READY

_MEMORY_BYTES = 4 * 2**30


def main() -> None:
    """Until stdin ends."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    logging.disable(logging.WARNING)  # that it has no limit of time here: the other side has it
    print(READY, flush=True)
    for line in sys.stdin:
        reference, answer = json.loads(line)
        print(json.dumps(_is_same(reference, answer)), flush=True)


def _is_same(reference: str, answer: str) -> bool:
    try:
        gold = parse(f"\\boxed{{{reference}}}", parsing_timeout=None)
        return bool(verify(gold, parse(answer, parsing_timeout=None), timeout_seconds=None))
    except MemoryError:
        raise  # the other side tells it
    except Exception:  # noqa: BLE001  # of what it cannot read, a number of thousands of digits for example
        return False


if __name__ == "__main__":
    main()
