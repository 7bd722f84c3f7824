# SPDX-License-Identifier: Apache-2.0
"""The text of a dataset card: numbers of rows and tokens, sources, domains, funnel, contamination, and how it was made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean, median
from typing import Any

from budgetforce.curating.history import History, StageReport
from budgetforce.curating.rows import Row

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))
_LARGEST = "n>10M"
_LOADING = """\
```python
import pyarrow.parquet as parquet

rows = parquet.read_table("data.parquet").to_pylist()
print(rows[0]["text"])
```

`input_ids` and `labels` are what the model is trained on (label -100: no loss); `text` is the same as text. `metadata`,
`teacher` and `weak_correct` are JSON. `tokenizer/` encodes `text` to `input_ids`. `dataset.json` has the digest of
`data.parquet`, the recipe and the number of rows behind each stage."""


def card_text(rows: Sequence[Row], title: str, summary: str, licence: str, history: History, description: dict[str, Any]) -> str:
    """Return the content of README.md, with the header that the hub of Hugging Face reads."""
    sections = (
        _header(rows, licence, history),
        f"# {title or history.recipe_name}",
        summary,
        _numbers(rows, description),
        f"## Loading\n\n{_LOADING}",
        f"## Sources\n\n{_sources(rows)}",
        f"## Domains\n\n![Domains](domains.png)\n\n{_domains(rows)}",
        f"## Lengths\n\n![Lengths](lengths.png)\n\n{_lengths(rows)}",
        f"## Selection\n\n![Funnel](funnel.png)\n\n{_funnel(history.stages)}",
        f"## Contamination\n\n{_contamination(history)}",
        f"## How it was made\n\n{_making(history)}",
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def _header(rows: Sequence[Row], licence: str, history: History) -> str:
    found = sorted({row.get("licence") or "unknown" for row in rows})
    whole = licence or (found[0] if len(found) == 1 and found != ["unknown"] else "other")
    size = next((name for limit, name in _SIZES if len(rows) < limit), _LARGEST)
    lines = (
        *("---", f"pretty_name: {json.dumps(history.recipe_name, ensure_ascii=False)}", f"license: {whole.lower()}"),
        *("task_categories:", "- text-generation", "size_categories:", f"- {size}"),
        *("configs:", "- config_name: default", "  data_files: data.parquet", "---"),
    )
    return "\n".join(lines)


def _numbers(rows: Sequence[Row], description: dict[str, Any]) -> str:
    return (
        f"{len(rows):,} questions with thoughts and answers: {description['num_tokens']:,} tokens, of which"
        f" {description['num_loss_tokens']:,} have a loss. {_right(rows)} of the answers are right."
    )


def _right(rows: Iterable[Row]) -> str:
    """Return the share of graded answers that are right, or a dash if none is graded."""
    graded = [row["is_correct"] for row in rows if row.get("is_correct") is not None]
    return f"{100 * sum(graded) / len(graded):.1f} %" if graded else "–"


def _mean_thinking(rows: Iterable[Row]) -> str:
    found = [row["num_thinking_tokens"] for row in rows if row.get("num_thinking_tokens") is not None]
    return f"{fmean(found):,.0f}" if found else "–"


def _groups(rows: Sequence[Row], *fields: str) -> Iterator[tuple[tuple[str, ...], list[Row]]]:
    """Yield the rows by the values of fields, the largest group first."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row.get(field) or "unknown") for field in fields), []).append(row)
    yield from sorted(groups.items(), key=lambda entry: (-len(entry[1]), entry[0]))


def _sources(rows: Sequence[Row]) -> str:
    lines = [
        (*key, f"{len(group):,}", _right(group), _mean_thinking(group))
        for key, group in _groups(rows, "source", "source_revision", "licence")
    ]
    lines.append(("all", "", "", f"{len(rows):,}", _right(rows), _mean_thinking(rows)))
    return table(("source", "revision", "licence", "rows", "right", "thinking tokens (mean)"), lines, num_texts=3)


def _domains(rows: Sequence[Row]) -> str:
    lines = [(key[0], f"{len(group):,}", _right(group), _mean_thinking(group)) for key, group in _groups(rows, "domain")]
    lines.append(("all", f"{len(rows):,}", _right(rows), _mean_thinking(rows)))
    return table(("domain", "rows", "right", "thinking tokens (mean)"), lines, num_texts=1)


def _lengths(rows: Sequence[Row]) -> str:
    measures = {
        "whole row": [len(row["input_ids"]) for row in rows],
        "thinking": [row["num_thinking_tokens"] for row in rows if row.get("num_thinking_tokens") is not None],
    }
    lines = [(name, *(f"{number:,.0f}" for number in _summary(sorted(numbers)))) for name, numbers in measures.items() if numbers]
    return table(("tokens of", "shortest", "median", "mean", "95th percentile", "longest", "sum"), lines, num_texts=1)


def _summary(numbers: Sequence[int]) -> tuple[float, ...]:
    highest_of_95 = numbers[-(-95 * len(numbers) // 100) - 1]
    return numbers[0], median(numbers), fmean(numbers), highest_of_95, numbers[-1], sum(numbers)


def _funnel(stages: Sequence[StageReport]) -> str:
    lines = []
    for stage in stages:
        reasons = ", ".join(f"{reason} {num:,}" for reason, num in stage.dropped.items())
        lines.append((stage.name, f"{stage.rows_in:,}", f"{stage.rows_out:,}", f"{sum(stage.dropped.values()):,}", reasons))
    return table(("stage", "rows in", "rows out", "left out", "by reason"), lines, num_texts=1)


def _contamination(history: History) -> str:
    found = next((stage.found for stage in history.stages if stage.name == "decontaminate"), {})
    tests = found.get("test_sets", [])
    if not tests:
        return "No test set was compared with these rows."
    rule = found["rule"]
    lines = [
        (line["source"], line["test_set"], f"{line['num_rows']:,}", f"{line['num_hits']:,}", _example(line["example"]))
        for line in found["table"]
    ]
    sizes = ", ".join(f"{test['name']} ({test['num_questions']:,} questions, {test['origin']})" for test in tests)
    return (
        f"A row is left out if its {' or '.join(rule['fields'])} shares {rule['min_hits']} or more {rule['ngram']}-grams of words with a"
        f" question of {sizes}. Words are split by {' and by '.join(rule['normalisations'])}.\n\n"
        + table(("source", "test set", "rows compared", "left out", "example"), lines, num_texts=2)
    )


def _example(example: dict[str, str] | None) -> str:
    return f"`{example['ngram']}` in the {example['field']}, {example['test_set']} {example['test_id']}" if example else ""


def _making(history: History) -> str:
    code = f"code at commit `{history.code}`" if history.code else "code at no known commit"
    teachers = (
        f"Made {history.created} from recipe `{history.recipe_name}` (SHA-256 `{history.recipe_sha256[:12]}`), {code}, with the tokenizer"
    )
    recipe = json.dumps(history.recipe, indent=1, ensure_ascii=False)
    return f"{teachers} of SHA-256 `{history.tokenizer_sha256[:12]}`.\n\nThe recipe:\n\n```json\n{recipe}\n```"


def table(heads: Sequence[str], lines: Iterable[Sequence[str]], *, num_texts: int) -> str:
    """Return a Markdown table; the columns behind the first ``num_texts`` are numbers, flush right, as far as the last number."""
    kinds = ["---"] * num_texts + ["---:"] * (len(heads) - num_texts)
    rows = [heads, kinds, *lines]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
