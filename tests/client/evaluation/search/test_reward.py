# SPDX-License-Identifier: Apache-2.0
"""The address and the errors of a served reward model; tests/server/test_evaluation.py tests its scores."""

import grpc
import pytest
import trustme

from s1_client import TLS, ServerFailed
from s1_client.evaluation import ServedScorer
from s1_client.testing import FakeServer


@pytest.mark.parametrize(
    "arguments", [{"url": "host"}, {"url": "host:99999"}, {"model": ""}, {"headers": {"X-Team": "a"}}, {"headers": {"a": "b\n"}}]
)
def test_an_address_or_header_that_cannot_be_is_refused_by_name(arguments):
    with pytest.raises(ValueError, match=r"(url|model|metadata).*, allowed: "):
        ServedScorer(**{"url": "127.0.0.1:1", "model": "m", **arguments})


def test_an_address_with_grpcs_has_tls(tmp_path):
    authority = trustme.CA()
    pair = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    credentials = grpc.ssl_server_credentials([(pair.private_key_pem.bytes(), pair.cert_chain_pems[0].bytes())])
    with FakeServer(credentials=credentials) as server:
        with ServedScorer(f"grpcs://{server.url}", "s1", tls=TLS(ca_file=tmp_path / "ca.pem")) as scorer:
            scorer.check()
        with ServedScorer(f"grpcs://{server.url}", "s1") as scorer, pytest.raises(ServerFailed, match="CERTIFICATE_VERIFY_FAILED"):
            scorer.check()
