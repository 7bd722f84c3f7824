# SPDX-License-Identifier: Apache-2.0
"""Read the curve of an evaluation out of the files that `s1 eval` writes into its folder."""

import csv
import json
from pathlib import Path

folder = Path(__file__).with_name("evaluation")  # or the DIR of your `s1 eval … --out DIR`
rows = list(csv.DictReader((folder / "summary.csv").read_text().splitlines()))
points = [(float(row["mean_thinking_tokens"]), float(row["accuracy"])) for row in rows if row["curve"] == "none refused"]
curves = {curve["name"]: curve for curve in json.loads((folder / "summary.json").read_text())["curves"]}
print(points, curves["none refused"]["scaling_log2"], curves["none refused"]["scaling_log2_interval"])
