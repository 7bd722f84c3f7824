# SPDX-License-Identifier: Apache-2.0
"""The flags and variables that the launcher's security options lead to. (With a server: tests/server/test_security.py.)"""

import argparse
from pathlib import Path

import pytest
import trustme

from budgetforce.errors import ConfigError
from budgetforce.launcher.certificates import Pair, TlsFiles
from budgetforce.launcher.security import Security, add_security_options, security_of

OF_CLIENTS, OF_LAUNCHER = "inference,model-config,statistics:s1-secret=abc", "model-repository,shared-memory,trace,logging:s1-admin="
SERVER, OWN = (Pair(cert=Path(f"/{name}.pem"), key=Path(f"/{name}.key")) for name in ("server", "own"))


def tls(client_ca=None):
    return TlsFiles(server=SERVER, client_ca=client_ca, own=OWN, name="s1.example")


def parsed(*flags):
    parser = argparse.ArgumentParser()
    add_security_options(parser)
    return security_of(parser.parse_args(flags))


def rules(*texts):
    """The flags of rules for gRPC and HTTP."""
    return [f"--{flag}={text}" for text in texts for flag in ("grpc-restricted-protocol", "http-restricted-api")]


def test_by_default_everybody_may_infer_and_the_launcher_alone_may_change_the_server():
    security = parsed()
    assert list(security.flags()) == rules(OF_LAUNCHER + security.admin_secret)
    assert security.admin_headers() == {"s1-admin": security.admin_secret}
    assert security.environment("h:1") == {"S1_ENGINE_URL": "h:1"}
    assert security.client_environment("h:1") == {"S1_URL": "h:1"}


def test_a_secret_is_for_grpc_and_http_and_for_the_model(tmp_path):
    (tmp_path / "secret").write_text("abc\n")
    security = parsed(f"--secret-file={tmp_path / 'secret'}")
    assert list(security.flags()) == rules(OF_CLIENTS, OF_LAUNCHER + security.admin_secret)
    assert security.environment("h:1") == {"S1_ENGINE_URL": "h:1", "S1_ENGINE_SECRET_FILE": str(tmp_path / "secret")}
    assert security.client_environment("h:1") == {"S1_URL": "h:1", "S1_SECRET": "s1-secret=abc"}
    assert "abc" not in repr(security)


def test_the_launchers_secret_is_new_for_each_server_and_nobody_is_told_it():
    """Neither s1, nor the command after --, nor a log."""
    one, other = parsed(), parsed()
    assert one.admin_secret != other.admin_secret
    assert len(one.admin_secret) == 64
    told = [repr(one), *one.environment("h:1").values(), *one.client_environment("h:1").values()]
    assert not any(one.admin_secret in text for text in told)


def test_with_tls_the_model_goes_to_the_name_in_the_certificate():
    security = Security(tls=tls())
    assert list(security.flags())[:3] == ["--grpc-use-ssl=true", "--grpc-server-cert=/server.pem", "--grpc-server-key=/server.key"]
    expected = {"S1_ENGINE_URL": "grpcs://h:1", "S1_ENGINE_CA": "/server.pem", "S1_ENGINE_NAME": "s1.example"}
    assert security.environment("h:1") == expected
    assert security.client_environment("h:1") == {"S1_URL": "grpcs://s1.example:1", "S1_CA_FILE": "/server.pem"}


def test_where_clients_need_certificates_so_does_the_model():
    security = Security(tls=tls(Path("/ca.pem")))
    assert list(security.flags())[3:5] == ["--grpc-use-ssl-mutual=true", "--grpc-root-cert=/ca.pem"]
    assert security.environment("h:1").items() >= {"S1_ENGINE_CERT": "/own.pem", "S1_ENGINE_KEY": "/own.key"}.items()
    assert security.client_environment("h:1").items() >= {"S1_CERT_FILE": "/own.pem", "S1_KEY_FILE": "/own.key"}.items()


@pytest.mark.parametrize("own", [False, True])
def test_triton_gets_absolute_paths(tmp_path, monkeypatch, own):
    ca = trustme.CA()
    for name in ("server", "own"):
        ca.issue_cert(f"{name}.example").private_key_and_cert_chain_pem.write_to_path(tmp_path / name)
    ca.cert_pem.write_to_path(tmp_path / "ca")
    monkeypatch.chdir(tmp_path)
    more = ["--loopback-cert=own", "--loopback-key=own"] if own else []
    found = parsed("--tls-cert=server", "--tls-key=server", "--tls-client-ca=ca", *more).tls
    server, shown = (Pair(cert=tmp_path / name, key=tmp_path / name) for name in ("server", "own" if own else "server"))
    assert found == TlsFiles(server=server, client_ca=tmp_path / "ca", own=shown, name="server.example")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tls-cert=x"], "--tls-cert and --tls-key must be given together"),
        (["--tls-key=x"], "--tls-cert and --tls-key must be given together"),
        (["--tls-client-ca=x"], "--tls-client-ca needs --tls-cert"),
        (["--tls-cert=x", "--tls-key=x", "--loopback-cert=x", "--loopback-key=x"], "--loopback-cert needs --tls-client-ca"),
        (
            ["--tls-cert=x", "--tls-key=x", "--tls-client-ca=x", "--loopback-key=x"],
            "--loopback-cert and --loopback-key must be given together",
        ),
        (["--tls-cert=/nowhere", "--tls-key=/nowhere"], "/nowhere cannot be read"),
        (["--secret-file=/nowhere"], "/nowhere cannot be read"),
    ],
)
def test_incomplete_options_are_refused(flags, message):
    with pytest.raises(ConfigError, match=message):
        parsed(*flags)
