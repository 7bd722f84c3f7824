# SPDX-License-Identifier: Apache-2.0
"""The generated parts of model_repository are current, and its comments list what the code knows."""

import re

import pytest

from budgetforce import presets
from budgetforce.building import model_configs
from budgetforce.launcher.serving_env import ENGINES


def test_the_committed_configs_are_current(root):
    """If not: python -m budgetforce.building.model_configs."""
    for path, text in model_configs.generated_configs(root / "model_repository").items():
        assert path.read_text() == text, path


def test_refreshing_brings_changes_of_the_hand_written_parts_into_the_copies(root, tmp_path):
    for path in model_configs.generated_configs(root / "model_repository"):
        for source in (path, path.parent.parent / "config.pbtxt"):
            copy = tmp_path / source.relative_to(root / "model_repository")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(source.read_text() if source.exists() else "")
    for name, old, new in (("s1", '"1048576"', '"77"'), ("vllm_llm", "TYPE_UINT64", "TYPE_INT8")):
        config = tmp_path / name / "config.pbtxt"
        config.write_text(config.read_text().replace(old, new))
    model_configs.refresh(tmp_path)
    assert '"77"' in (tmp_path / "s1/configs/bls.pbtxt").read_text()
    assert (tmp_path / "vllm_llm/config.pbtxt").read_text() == (root / "model_repository/vllm_llm/config.pbtxt").read_text()


@pytest.mark.parametrize(("key", "names"), [("engine_model", ENGINES), ("preset", presets.names())])
def test_the_comments_list_every_engine_and_every_model_preset(root, key, names):
    text = (root / "model_repository/s1/config.pbtxt").read_text()
    (listed,) = re.findall(rf'key: "{key}" .*?((?:\S+ \| )+\S+)$', text, re.M)
    assert sorted(listed.split(" | ")) == sorted(names)
