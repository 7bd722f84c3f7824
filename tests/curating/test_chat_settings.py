# SPDX-License-Identifier: Apache-2.0
"""The settings of a chat API, of the teacher as of the model that chooses domains: bad values are refused, keys never shown."""

import pytest

from budgetforce.building.stage import BuildFailed
from budgetforce.curating.domain_model import DomainModel
from budgetforce.curating.teachers.chat_settings import ChatApiSettings
from budgetforce.errors import ConfigError

URL = "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize("url", [URL, "https://api.example.com", "http://[::1]:8000/v1/"])
def test_a_base_url_is_accepted(url):
    assert ChatApiSettings(model="m", url=url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "api.example.com/v1",
        "ftp://x/v1",
        "http:///v1",
        "http://x:port/v1",
        "http://[::1/v1",
        "http://x/v1?key=1",
        "http://x/v 1",
        "http://x/é",
    ],
)
def test_a_url_that_no_request_can_have_is_refused_before_the_first_retry(url):
    with pytest.raises(ConfigError, match=r"^CONFIG: url: got .*, allowed: http://HOST"):
        ChatApiSettings(model="m", url=url)


def test_a_password_in_the_url_is_refused_and_not_shown():
    """The URL goes into the dataset card."""
    with pytest.raises(ConfigError, match="url: got .*//…@x/v1") as caught:
        ChatApiSettings(model="m", url="https://me:s3cret@x/v1")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("kind", [ChatApiSettings, DomainModel])
@pytest.mark.parametrize(
    ("name", "value"),
    [("timeout_s", 0.0), ("num_retries", -1), ("pause_s", -1.0), ("max_tokens", 0), ("concurrency", 0), ("usd_per_million_input", -1.0)],
)
def test_a_number_out_of_range_is_refused(kind, name, value):
    with pytest.raises(ConfigError, match=f"{name}: got"):
        kind(model="m", url=URL, **{name: value})


def test_a_number_of_tries_below_one_is_refused():
    with pytest.raises(ConfigError, match="num_tries: got 0"):
        DomainModel(model="m", url=URL, num_tries=0)


@pytest.mark.parametrize(("key", "header"), [("abc\n", "Bearer abc"), (" ", None), (None, None)])
def test_the_key_comes_from_the_environment(monkeypatch, key, header):
    monkeypatch.delenv("MY_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("MY_KEY", key)
    assert ChatApiSettings(model="m", url=URL, key_env="MY_KEY").headers().get("Authorization") == header


@pytest.mark.parametrize("key", ["s3c\nret", "s3crét"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(monkeypatch, key):
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(BuildFailed, match=r"\$MY_KEY: got text with") as caught:
        ChatApiSettings(model="m", url=URL, key_env="MY_KEY").headers()
    assert "s3c" not in str(caught.value)
