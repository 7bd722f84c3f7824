# SPDX-License-Identifier: Apache-2.0
"""Certificates are checked before Triton starts: those that fit yield a host name, all others a reason."""

from datetime import UTC, datetime

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from budgetforce.errors import ConfigError
from budgetforce.launcher.certificates import Pair, tls_files


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture
def pair(tmp_path):
    """Write files with a certificate that an authority has signed, and its key."""

    def write(authority, *names, file="server", **settings):
        certificate = authority.issue_cert(*names, **settings)
        files = Pair(cert=tmp_path / f"{file}.pem", key=tmp_path / f"{file}.key")
        files.cert.write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
        certificate.private_key_pem.write_to_path(files.key)
        return files

    return write


@pytest.fixture
def authority(tmp_path):
    """Write a file with an authority's certificate."""

    def write(ca):
        ca.cert_pem.write_to_path(tmp_path / "authority.pem")
        return tmp_path / "authority.pem"

    return write


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["s1.example", "other.example"], "s1.example"),
        (["s1.example", "localhost"], "localhost"),
        (["s1.example", "127.0.0.1"], "127.0.0.1"),
        (["*.example.org"], "s1.example.org"),
        (["::1", "10.0.0.7"], "10.0.0.7"),
    ],
)
def test_the_host_name_comes_from_the_certificate_and_prefers_this_machine(pair, ca, names, name):
    assert tls_files(pair(ca, *names)).name == name


@pytest.mark.parametrize("names", [{"common_name": "s1.example"}, {"identities": ["::1"]}])
def test_a_certificate_that_names_no_host_is_refused(pair, ca, names):
    with pytest.raises(ConfigError, match="server.pem names no host"):
        tls_files(pair(ca, *names.pop("identities", ()), **names))


def test_an_intermediate_authority_makes_no_difference(pair, ca):
    assert tls_files(pair(ca.create_child_ca(), "s1.example")).name == "s1.example"


def test_s1_presents_the_servers_pair_or_its_own(pair, authority, ca):
    server, own = pair(ca, "s1.example"), pair(ca, "s1.loopback", file="own")
    assert tls_files(server, client_ca=authority(ca)).own == server
    assert tls_files(server, client_ca=authority(ca), own=own).own == own


def test_a_certificate_from_another_authority_is_refused(pair, authority, ca):
    with pytest.raises(ConfigError, match="server.pem would be rejected: .*issuer.* s1 presents it to its own server"):
        tls_files(pair(ca, "s1.example"), client_ca=authority(trustme.CA()))


@pytest.mark.parametrize("is_own", [True, False])
def test_an_expired_certificate_is_refused(pair, authority, ca, is_own):
    past = {"not_before": datetime(2020, 1, 1, tzinfo=UTC), "not_after": datetime(2021, 1, 1, tzinfo=UTC)}
    good, expired = pair(ca, "s1.example"), pair(ca, "old.example", file="old", **past)
    with pytest.raises(ConfigError, match="old.pem would be rejected: certificate has expired"):
        tls_files(*([good] if is_own else [expired]), client_ca=authority(ca), own=expired if is_own else good)


def test_the_key_of_another_certificate_is_refused(pair, ca):
    one, other = pair(ca, "a.example"), pair(ca, "b.example", file="other")
    with pytest.raises(ConfigError, match="server.pem and .*other.key are not a certificate and its unencrypted key"):
        tls_files(Pair(cert=one.cert, key=other.key))


@pytest.mark.parametrize("which", ["cert", "key", "authority"])
@pytest.mark.parametrize(("text", "reason"), [(None, "cannot be read: No such file"), ("no PEM", "certificate")])
def test_a_file_that_is_missing_or_malformed_is_named(pair, authority, ca, which, text, reason):
    server, client_ca = pair(ca, "s1.example"), authority(ca)
    path = {"cert": server.cert, "key": server.key, "authority": client_ca}[which]
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ConfigError, match=f"{path}.*{reason}"):
        tls_files(server, client_ca=client_ca)


def test_an_encrypted_key_is_refused_without_a_password_prompt(pair, ca):
    files = pair(ca, "s1.example")
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word"))
    files.key.write_bytes(key.private_bytes(*form))
    with pytest.raises(ConfigError, match="unencrypted"):
        tls_files(files)
