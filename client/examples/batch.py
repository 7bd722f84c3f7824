# SPDX-License-Identifier: Apache-2.0
"""Send every question of a file, and write a line of JSON for each reply."""

import json
from pathlib import Path

from s1_client import Client, Request

lines = Path(__file__).with_name("arithmetic.jsonl").read_text().splitlines()[:4]
requests = [Request(prompt=json.loads(line)["prompt"]) for line in lines]
with Client() as client:
    for outcome in client.map(requests, concurrency=16, max_thinking_tokens=20, max_tokens=8):
        print(json.dumps(outcome.reply.to_dict() if outcome.reply else outcome.error.to_dict()))
