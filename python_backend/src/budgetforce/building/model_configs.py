# SPDX-License-Identifier: Apache-2.0
"""Generate the parts of ``model_repository`` that are copies: the engines' tensors, and ``s1`` over BLS.

    python -m budgetforce.building.model_configs          # in the checkout

The files are committed, because a plain ``tritonserver`` reads them. Hand-written are ``s1/config.pbtxt``, the schema of
requests, and the head of each engine's config (name, parameters).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from budgetforce.building.render import tensor_lines

PYTHON_ENGINES = ("embedded_llm", "vllm_llm", "llmapi_llm")
GENERATED_MARK = "# Generated from here on (python -m budgetforce.building.model_configs): the tensors of NVIDIA's tensorrt_llm.\n"
BLS_HEAD = """\
# Generated from config.pbtxt (python -m budgetforce.building.model_configs): edit that file.
# The same model over Triton's Business Logic Scripting instead of gRPC: tritonserver --model-config-name=bls,
# or the launcher's --transport bls. Only the instance count and the transport differ.
"""
BLS_CHANGES = {
    "instance_group [ { count: 1 kind: KIND_CPU } ]  # one process runs all replies concurrently\n": (
        "instance_group [ { count: 16 kind: KIND_CPU } ]  # processes; each runs one reply at a time\n"
    ),
    '  value: { string_value: "grpc" }\n': '  value: { string_value: "bls" }\n',
}


def generated_configs(repository: Path) -> dict[Path, str]:
    """Return each generated file of a model repository with the text it should have."""
    engines = {path: _engine_config(path.read_text()) for path in (repository / name / "config.pbtxt" for name in PYTHON_ENGINES)}
    return engines | {repository / "s1/configs/bls.pbtxt": _bls_config((repository / "s1/config.pbtxt").read_text())}


def refresh(repository: Path) -> None:
    """Write the generated files of a model repository."""
    for path, text in generated_configs(repository).items():
        path.write_text(text)


def _engine_config(text: str) -> str:
    head, mark, _ = text.partition(GENERATED_MARK)
    assert mark, f"an engine's config lacks the line {GENERATED_MARK!r}"
    return "\n".join([f"{head}{mark}", *tensor_lines(), ""])


def _bls_config(text: str) -> str:
    body = text[text.index('name: "s1"') :]
    return BLS_HEAD + _replace_each_once(body, BLS_CHANGES)


def _replace_each_once(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert text.count(old) == 1, f"s1/config.pbtxt should have this line once: {old!r}"
        text = text.replace(old, new)
    return text


if __name__ == "__main__":
    refresh(Path("model_repository"))
