# SPDX-License-Identifier: Apache-2.0
"""``s1 lm-eval``: what it adds to lm-evaluation-harness's command (which test_lm_eval_model.py runs)."""

import sys

from client.cli.running import call
from s1_client.cli.evaluate.lm_eval import with_recipes


def test_without_the_package_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.__main__", None)
    assert "pip install './client[lm-eval]'" in call("lm-eval", "--tasks", "s1_aime24", code=2).stderr


def test_our_tasks_are_found_unless_others_are_named():
    assert with_recipes(()) == []
    *given, option, folder = with_recipes(("--tasks", "s1_aime24"))
    assert (given, option) == (["--tasks", "s1_aime24"], "--include_path") and folder.endswith("recipes")
    for mine in (("--include_path", "mine"), ("--include_path=mine",)):
        assert with_recipes(mine) == list(mine)
