# SPDX-License-Identifier: Apache-2.0
"""An engine's endpoint: its files are read once, and useless settings are refused. (Calls over TLS: test_grpc_tls.py.)"""

import pytest

from budgetforce.config import OrchestratorConfig
from budgetforce.engine.endpoint import Endpoint, Tls, load_endpoint, read_secret
from budgetforce.errors import ConfigError


def config(**changes):
    rest = {"engine_model": "e", "tokenizer_dir": "t", "preset": "s1", "max_context_tokens": 100, "vocab_rows": 200}
    return OrchestratorConfig(**{"engine_url": "h:1", **rest, **changes})


@pytest.fixture
def file(tmp_path):
    """A file with a text."""

    def write(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_by_default_there_is_neither_tls_nor_secret():
    assert load_endpoint(config()) == Endpoint(address="h:1")


def test_the_files_of_a_tls_endpoint_are_read(file):
    files = {name: file(name, f"the {name}") for name in ("engine_ca", "engine_cert", "engine_key")}
    found = load_endpoint(config(engine_url="grpcs://h:1", engine_name="s1.example", engine_secret_file=file("secret", "abc\n"), **files))
    tls = Tls(ca=b"the engine_ca", name="s1.example", cert=b"the engine_cert", key=b"the engine_key")
    assert found == Endpoint(address="h:1", tls=tls, secret="abc")


def test_a_tls_endpoint_needs_no_file():
    assert load_endpoint(config(engine_url="grpcs://h:1")) == Endpoint(address="h:1", tls=Tls())


@pytest.mark.parametrize("name", ["engine_ca", "engine_name", "engine_cert", "engine_key"])
def test_tls_settings_are_refused_without_tls(name):
    with pytest.raises(ConfigError, match=f"'{name}' is for TLS, but engine_url is 'h:1'"):
        load_endpoint(config(**{name: "x"}))


@pytest.mark.parametrize("name", ["engine_cert", "engine_key"])
def test_half_a_pair_is_refused(name):
    with pytest.raises(ConfigError, match="'engine_cert' and 'engine_key' come together"):
        load_endpoint(config(engine_url="grpcs://h:1", **{name: "x"}))


@pytest.mark.parametrize("name", ["engine_ca", "engine_secret_file"])
def test_a_missing_file_is_named(name):
    with pytest.raises(ConfigError, match="/nowhere cannot be read: No such file"):
        load_endpoint(config(engine_url="grpcs://h:1", **{name: "/nowhere"}))


@pytest.mark.parametrize(("text", "secret"), [("abc", "abc"), ("a=b,c:d\n", "a=b,c:d"), ("!~", "!~")])
def test_a_secret_is_a_line(tmp_path, text, secret):
    (tmp_path / "secret").write_text(text)
    assert read_secret(tmp_path / "secret") == secret


@pytest.mark.parametrize("text", ["", "\n", "a b", "a\nb\n", "a\n\n", "a\r\n", "é", "a\0"])
def test_a_secret_that_no_header_can_hold_is_refused(tmp_path, text):
    (tmp_path / "secret").write_text(text)
    with pytest.raises(ConfigError, match="one line of printable ASCII"):
        read_secret(tmp_path / "secret")


def test_secrets_and_keys_are_not_shown():
    shown = repr(Endpoint(address="h:1", tls=Tls(key=b"private"), secret="hidden"))
    assert "private" not in shown
    assert "hidden" not in shown


@pytest.mark.parametrize("address", ["h:1", "[::1]:8001", "my-host_2.example:65535"])
def test_an_address_is_a_host_and_a_port(address):
    assert load_endpoint(config(engine_url=address)).address == load_endpoint(config(engine_url=f"grpcs://{address}")).address == address


@pytest.mark.parametrize(
    "url", ["", "h", "h:", "h:0", "h:65536", "h:99999", "h:8001/", "h: 1", " h:1", "::1:8001", "grpc://h:1", "http://h:1", "grpcs://h"]
)
def test_a_wrong_address_is_refused(url):
    with pytest.raises(ConfigError, match="parameter 'engine_url': got '.*', allowed: host:port or grpcs://host:port"):
        load_endpoint(config(engine_url=url))
