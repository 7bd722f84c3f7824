# SPDX-License-Identifier: Apache-2.0
"""The settings of tracing that are refused, each by its name."""

import importlib.util

import pytest

from budgetforce.errors import ConfigError
from budgetforce.trace_target import check_url, require_opentelemetry


@pytest.mark.parametrize("url", ["http://127.0.0.1:4318/v1/traces", "https://otel.example/v1/traces", "http://[::1]:4318/x"])
def test_a_receivers_url_is_accepted(url):
    assert check_url("--trace-url", url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "4318",
        "localhost:4318",
        "grpc://127.0.0.1:4317/v1/traces",
        "http:///v1/traces",
        "http://127.0.0.1:4318",
        "http://127.0.0.1:4318/",
        "http://127.0.0.1:99999/v1/traces",
        "http://127.0.0.1:port/v1/traces",
        "http://[::1/v1/traces",
        "http://user:secret@host:4318/v1/traces",
        "http://host:4318/v1/traces?key=1",
        "http://host:4318/v1/traces#x",
        "http://host:4318/v1/ traces",
    ],
)
def test_another_url_is_refused(url):
    with pytest.raises(ConfigError, match="--trace-url: got .*, allowed: the URL of an OTLP/HTTP receiver"):
        check_url("--trace-url", url)


def test_the_sentence_about_a_missing_package_names_the_extra(monkeypatch):
    require_opentelemetry("--trace-url")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "exporter" in name else find(name))
    with pytest.raises(ConfigError, match=r"--trace-url needs OpenTelemetry's SDK .*: pip install './python_backend\[tracing\]'"):
        require_opentelemetry("--trace-url")


def test_a_missing_parent_package_is_a_missing_package(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib.util, "find_spec", missing)
    with pytest.raises(ConfigError, match="tracing"):
        require_opentelemetry("--trace-url")
