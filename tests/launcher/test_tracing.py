# SPDX-License-Identifier: Apache-2.0
"""The launcher's options for tracing: what they mean for Triton and s1, and values that are refused."""

import pytest

from budgetforce.errors import ConfigError
from budgetforce.launcher import tracing
from budgetforce.launcher.options import parse_options
from budgetforce.launcher.tracing import Tracing, tracing_of

URL = "http://127.0.0.1:4318/v1/traces"


def settings(*flags):
    return tracing_of(parse_options(list(flags)))


def test_without_a_url_nothing_is_traced():
    off = settings()
    assert (list(off.flags()), off.headers) == ([], ())
    assert off.environment() == {"S1_TRACE_URL": "", "S1_TRACE_RATE": "1.000000000", "S1_FORWARDED_HEADERS": ""}


def test_one_option_sets_both_tracers():
    on = settings(f"--trace-url={URL}", "--trace-rate=0.25")
    flags = list(on.flags())
    assert f"--trace-config=opentelemetry,url={URL}" in flags
    assert on.environment() == {"S1_TRACE_URL": URL, "S1_TRACE_RATE": "0.250000000", "S1_FORWARDED_HEADERS": "^traceparent$"}
    assert on.headers == ("traceparent",)


def test_triton_begins_no_trace_of_its_own():
    """It would for s1's engine calls, apart from their requests; the rate is s1's business."""
    assert "--trace-config=rate=0" in settings(f"--trace-url={URL}", "--trace-rate=1").flags()


def test_every_request_is_traced_unless_a_rate_is_given():
    assert settings(f"--trace-url={URL}") == Tracing(url=URL, rate=1.0)


@pytest.mark.parametrize("rate", ["-0.1", "1.01", "nan", "inf", "half", "", "1e-3"])
def test_a_rate_that_is_no_share_is_refused(rate, capsys):
    with pytest.raises(SystemExit):
        parse_options([f"--trace-url={URL}", f"--trace-rate={rate}"])
    assert f"--trace-rate: got {rate}, allowed: a number from 0 to 1" in capsys.readouterr().err


def test_a_rate_without_a_receiver_is_refused():
    with pytest.raises(ConfigError, match="--trace-rate needs --trace-url"):
        settings("--trace-rate=0.5")


@pytest.mark.parametrize("url", ["", "127.0.0.1:4318", "http://127.0.0.1:4318"])
def test_a_url_that_is_none_is_refused_by_the_options_name(url):
    with pytest.raises(ConfigError, match="--trace-url: got .*, allowed: the URL of an OTLP/HTTP receiver"):
        settings(f"--trace-url={url}")


def test_a_missing_package_is_refused_before_anything_starts(monkeypatch):
    def missing(name):
        raise ConfigError(f"{name} needs it")

    monkeypatch.setattr(tracing, "require_opentelemetry", missing)
    with pytest.raises(ConfigError, match="--trace-url needs it"):
        settings(f"--trace-url={URL}")
    assert settings() == Tracing()
