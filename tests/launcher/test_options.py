# SPDX-License-Identifier: Apache-2.0
"""The launcher's options: their help, and values that are refused."""

import re

import pytest

from budgetforce.launcher.options import parse_options
from budgetforce.launcher.serving_env import ENGINES


@pytest.mark.parametrize("engine", ENGINES)
def test_the_help_says_what_each_engine_loads(engine, capsys):
    with pytest.raises(SystemExit):
        parse_options(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    option = "--engine-dir" if engine == "tensorrt_llm" else "--model"
    described = re.search(rf"{option} [A-Z_]+ (.*?) --", text)[1]
    assert engine in described
    assert ("Hugging Face folder (required)" in described) == (engine != "tensorrt_llm")


@pytest.mark.parametrize("name", ["http", "grpc", "metrics"])
@pytest.mark.parametrize("value", ["-1", "65536", "99999", "x", "8001.0", ""])
def test_an_invalid_port_is_refused_by_the_options_name(name, value, capsys):
    with pytest.raises(SystemExit):
        parse_options([f"--{name}-port={value}"])
    assert f"--{name}-port: got {value}, allowed: a number from 1 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--drain-s", "--lame-duck-s"])
@pytest.mark.parametrize("seconds", ["-1", "inf", "soon"])
def test_an_invalid_drain_time_is_refused(capsys, option, seconds):
    with pytest.raises(SystemExit):
        parse_options([f"{option}={seconds}"])
    assert option in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "expected"), [([], 0), (["--ready-port=9"], 5), (["--ready-port=9", "--lame-duck-s=0"], 0)])
def test_new_requests_are_served_a_while_longer_where_a_balancer_watches(flags, expected):
    assert parse_options(flags).lame_duck_s == expected


def test_the_port_for_balancers_must_be_known(capsys):
    with pytest.raises(SystemExit):
        parse_options(["--ready-port=0"])
    assert "--ready-port: got 0, allowed: a number from 1 to 65535" in capsys.readouterr().err
