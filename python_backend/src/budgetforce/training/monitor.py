# SPDX-License-Identifier: Apache-2.0
"""The log of a run, one JSON object a step, and a progress line on stderr."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from budgetforce.building.toolrun import duration
from budgetforce.training.states import mark_complete, remove_old

TERMINAL_PERIOD_S, PLAIN_PERIOD_S = 0.5, 30.0


class Monitor(TrainerCallback):
    """Writes the log and shows the progress line; marks each saved state as complete, and removes the states before it.

    step_tokens: tokens of each step, padding not counted.
    num_states: states that are kept on disk.
    """

    def __init__(self, log: Path, step_tokens: Sequence[int], first_step: int, num_states: int) -> None:
        self._tokens, self._first, self._num_states = list(accumulate(step_tokens, initial=0)), first_step, num_states
        self._records = [record for record in read_log(log) if record["step"] <= first_step]
        self._before_s = self._records[-1]["seconds"] if self._records else 0.0
        write_log(log, self._records)
        self._file = log.open("a", encoding="utf-8")
        self._started = self._shown = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:  # noqa: ARG002
        """Append a finished step to the log."""
        if logs is None or "loss" not in logs:
            return
        record = {
            "step": state.global_step,
            "loss": logs["loss"],
            "lr": logs["learning_rate"],
            "grad_norm": logs.get("grad_norm"),
            "tokens": self._tokens[state.global_step],
            "seconds": round(self._before_s + time.monotonic() - self._started, 2),
        }
        self._records.append(record)
        self._file.write(json.dumps(record) + "\n")
        self._show(record, state.max_steps)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Mark the state that has just been saved, with everything in the log that led to it; then older states can go."""
        self._file.flush()
        states = Path(args.output_dir)
        mark_complete(states / f"checkpoint-{state.global_step}")
        remove_old(states, self._num_states)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Close the log, and remove the progress line from a terminal."""
        self._file.close()
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    @property
    def records(self) -> list[dict[str, Any]]:
        """All steps so far, those of the runs before included."""
        return self._records

    def _show(self, record: dict[str, Any], num_steps: int) -> None:
        now, terminal = time.monotonic(), sys.stderr.isatty()
        if now - self._shown < (TERMINAL_PERIOD_S if terminal else PLAIN_PERIOD_S):
            return
        self._shown, seconds, step = now, now - self._started, record["step"]
        rate = (self._tokens[step] - self._tokens[self._first]) / seconds
        left = (self._tokens[num_steps] - self._tokens[step]) / rate
        text = f"step {step} of {num_steps}, loss {record['loss']:.4f}, {rate:,.0f} tokens/s, {duration(left)} left"
        if terminal:
            text = f"\r\033[K{text[: shutil.get_terminal_size().columns - 1]}"
        print(text, end="" if terminal else "\n", file=sys.stderr, flush=True)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the records of a log up to the first line that is cut off; none if there is no log."""
    records: list[dict[str, Any]] = []
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def write_log(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write the records as a new log."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
