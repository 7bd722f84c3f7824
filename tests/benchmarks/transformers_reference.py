# SPDX-License-Identifier: Apache-2.0
"""Answers the questions of an evaluation with transformers itself, so that an engine can be compared with the model as published.

    .s1/train/bin/python tests/benchmarks/transformers_reference.py EVALUATION MODEL OUT
    s1 eval --show EVALUATION --show OUT

EVALUATION is a folder of ``s1 eval``, MODEL the Hugging Face folder that was served with preset s1. OUT gets the same settings, with
replies computed in float32, greedily, one after the other and without this project's code. Settings of kind budget are answered; of
those with refused ends only those without a budget. Needs torch and transformers, which build/train.py installs into .s1/train.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # more threads are slower for a model as small as s1-tiny
PRESET = Path(__file__).resolve().parents[2] / "python_backend/src/budgetforce/presets/s1.toml"
MAX_PHASE_TOKENS = 400


class Reference:
    """A model in float32 that continues ids greedily."""

    def __init__(self, folder: str) -> None:
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.torch = torch
        self.template = AutoTokenizer.from_pretrained(folder)
        self.tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")  # transformers 5 builds another from it, without ignore_merges
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.preset = tomllib.loads(PRESET.read_text())

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text, control tokens among them."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def continued(self, context: list[int], phase: str, limit: int) -> tuple[list[int], bool]:
        """Return up to ``limit`` new ids without the terminator, and whether one of the phase's terminators came."""
        stops = [self.ids(word)[0] for word in self.preset[phase]["terminators"]]
        if limit == 0:
            return [], False
        inputs = self.torch.tensor([context])
        options: dict[str, Any] = {"do_sample": False, "eos_token_id": stops, "pad_token_id": stops[-1], "max_new_tokens": limit}
        with self.torch.no_grad():
            out = self.model.generate(inputs, attention_mask=self.torch.ones_like(inputs), **options)[0, len(context) :].tolist()
        return (out[:-1], True) if out and out[-1] in stops else (out, False)

    def reply(self, prompt: str, budget: int, num_ignore: int) -> dict[str, Any]:
        """Return the reply to a prompt as a line of samples holds it."""
        chat = [{"role": "user", "content": prompt}]
        text = self.template.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        context = self.ids(text)
        thought, is_natural = self._thought([*context, *self.ids(self.preset["thinking"]["start"])], budget, num_ignore)
        opened = [*context, *self.ids(self.preset["thinking"]["start"]), *thought]  # the server opens a thought also at budget 0
        if not is_natural and not (thought and self.tokenizer.decode(thought).endswith("\n")):
            opened += self.ids("\n")  # as the server does behind a cut
        prefix = "" if is_natural else self.preset["answer"]["prefix"]
        start = self.preset["answer"]["start" if is_natural else "cut_start"]
        answered, is_whole = self.continued([*opened, *self.ids(start), *self.ids(prefix)], "answer", MAX_PHASE_TOKENS)
        usage = {"num_thinking_tokens": len(thought), "num_answer_tokens": len(answered), "num_ignored": num_ignore}
        ends = {
            "thinking_end": "natural" if is_natural else "budget" if budget else "skipped",
            "answer_end": "stop" if is_whole else "length",
        }
        result = {**ends, "usage": usage, "effective": {"preset": "s1", "max_tokens": MAX_PHASE_TOKENS}}
        return {"thinking": self.tokenizer.decode(thought), "answer": prefix + self.tokenizer.decode(answered), "result": result}

    def _thought(self, context: list[int], budget: int, num_ignore: int) -> tuple[list[int], bool]:
        thought, is_natural = self.continued(context, "thinking", MAX_PHASE_TOKENS if budget == -1 else budget)
        for _ in range(num_ignore):
            thought += self.ids(self.preset["thinking"]["ignore_str"][0])
            more, is_natural = self.continued([*context, *thought], "thinking", MAX_PHASE_TOKENS)
            thought += more
        return thought, is_natural


def settings_of(protocol: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Yield name, budget and number of refused ends of each setting that is answered."""
    for number in protocol["ignores"]:
        for budget in protocol["budgets"]:
            if budget == -1 or not number:
                limit = "context" if budget == -1 else budget
                yield f"budget {limit}" + (f" + {number} refused" if number else ""), budget, number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--num-questions", type=int, help="answer only the first N questions (default: all)")
    arguments = parser.parse_args()
    manifest = json.loads((arguments.evaluation / "settings.json").read_text())
    reference = Reference(arguments.model)
    arguments.out.mkdir(parents=True)
    shutil.copyfile(arguments.evaluation / "settings.json", arguments.out / "settings.json")
    with (arguments.out / "samples.jsonl").open("w") as file:
        for question in manifest["task"]["questions"][: arguments.num_questions]:
            for name, budget, number in settings_of(manifest["protocol"]):
                meta = {"question": question["id"], "setting": name, "repeat": 0, "attempt": 0}
                entry = {"id": f"{question['id']}/{name}/r0", "meta": meta, "reply": reference.reply(question["prompt"], budget, number)}
                file.write(json.dumps({**entry, "line": 1, "request": ""}) + "\n")


if __name__ == "__main__":
    main()
