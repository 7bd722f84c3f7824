# SPDX-License-Identifier: Apache-2.0
"""A request's tenant comes from a header, and where the server has a secret for it, only with that."""

import json

import pytest

from budgetforce.errors import InvalidRequest
from budgetforce.serving.requests.parameters import read_parameters, refuse_parameters
from budgetforce.serving.requests.tenant import tenant_of

SECRET = "open sesame 3f"


def tenant(secret="", /, **headers):
    return tenant_of([(name.replace("_", "-"), value) for name, value in headers.items()], secret)


@pytest.mark.parametrize("name", ["a", "ann.b@example-1_2", "x" * 64])
def test_a_header_names_the_tenant(name):
    assert tenant(s1_tenant=name) == tenant(S1_Tenant=name) == name


def test_a_request_without_the_header_has_no_tenant():
    assert tenant(traceparent="00") == tenant(SECRET) == ""


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a/b", "ä", "a\n", "(none)", 7, True, 0.5])
def test_any_other_name_is_refused(name):
    with pytest.raises(InvalidRequest, match="field 's1-tenant': got .*, allowed: 1 to 64 letters, digits"):
        tenant(s1_tenant=name)


@pytest.mark.parametrize("pairs", [[("s1-tenant", "a"), ("s1-tenant", "b")], [("s1-tenant", "a"), ("S1-Tenant", "a")]])
def test_a_name_that_comes_twice_is_refused(pairs):
    """Triton puts headers and request parameters into one object: a caller may send the parameter beside the gateway's header."""
    text = "{" + ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in pairs) + "}"
    with pytest.raises(InvalidRequest, match="'s1-tenant': got .*two values.*, allowed: one value"):
        tenant_of(read_parameters(text))


def test_with_a_secret_only_who_has_it_names_tenants():
    assert tenant(SECRET, s1_tenant="ann", s1_tenant_secret=SECRET) == "ann"
    with pytest.raises(InvalidRequest, match="'s1-tenant': .*nothing without s1-tenant-secret: on this server only a gateway"):
        tenant(SECRET, s1_tenant="ann")


@pytest.mark.parametrize("given", ["", "wrong", SECRET + "x", "é", "\ud800", 7])
@pytest.mark.parametrize("headers", [{}, {"s1_tenant": "ann"}])
def test_a_wrong_secret_is_refused_and_never_quoted(given, headers):
    with pytest.raises(InvalidRequest, match='s1-tenant-secret\': got "a value", allowed: the secret of the server') as refusal:
        tenant(SECRET, s1_tenant_secret=given, **headers)
    assert SECRET not in str(refusal.value) and "wrong" not in str(refusal.value)


def test_a_secret_for_a_server_without_one_is_refused():
    """A gateway that proves itself to a server that does not check would believe that others cannot name tenants."""
    with pytest.raises(InvalidRequest, match="nothing: this server has no secret for tenants"):
        tenant(s1_tenant="ann", s1_tenant_secret=SECRET)


def test_the_two_headers_are_no_unknown_parameters():
    refuse_parameters([("s1-tenant", "a"), ("S1-Tenant-Secret", "b")], ("text_input",), request_id="")
