# SPDX-License-Identifier: Apache-2.0
"""What Tab completes is what there is: the server's values, the package's scenarios and tasks."""

import pytest
from click.shell_completion import ShellComplete

from budgetforce import presets
from budgetforce.core import ThinkingMode
from budgetforce.serving.requests.request import ON_TIMEOUT
from s1_client.cli.app import COMMANDS, s1
from s1_client.cli.options import PRESET_TEMPERATURES, VALUES


def completions(*arguments, typed=""):
    return [item.value for item in ShellComplete(s1, {}, "s1", "_S1_COMPLETE").get_completions(list(arguments), typed)]


def test_the_values_are_the_servers():
    assert {
        "thinking": [mode.value for mode in ThinkingMode],
        "answer_prefix_policy": list(presets.PREFIX_POLICIES),
        "reasoning_effort": list(presets.EFFORTS),
        "on_timeout": list(ON_TIMEOUT),
        "preset": presets.names(),
    } == {name: list(values) for name, values in VALUES.items()}


def test_the_temperatures_of_presets_are_the_presets_own():
    assert {name: presets.Preset.load(name).sampling.get("temperature", 0.0) for name in presets.names()} == PRESET_TEMPERATURES


@pytest.mark.parametrize("command", ["ask", "chat", "batch"])
def test_options_that_take_words_are_completed(command):
    assert completions(command, "--thinking", typed="fr") == ["free"]
    assert completions(command, "--preset", typed="s1") == ["s1", "s1-eval", "s1-readme"]


def test_commands_scenarios_and_tasks_are_completed():
    assert set(completions()) == set(COMMANDS)
    assert completions("loadtest", typed="smo") == ["smoke"]
    assert completions("eval", typed="s1_aime") == ["s1_aime24", "s1_aime25"]
    assert completions("eval", typed="ari") == ["arithmetic"]
