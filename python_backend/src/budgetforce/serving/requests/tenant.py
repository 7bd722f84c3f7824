# SPDX-License-Identifier: Apache-2.0
"""The tenant of a request, which two headers name: ``s1-tenant`` and, where the server has a secret for it, ``s1-tenant-secret``.

Triton gives a model the headers that it forwards as request parameters, beside those of the request itself, and both may have the
same name. So a caller behind a gateway could send parameter ``s1-tenant`` beside the gateway's header: a name that comes twice is
refused. Independent of Triton.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Any

from budgetforce.errors import InvalidRequest

TENANT, TENANT_SECRET = "s1-tenant", "s1-tenant-secret"
HEADERS = (TENANT, TENANT_SECRET)
ALLOWED = "1 to 64 letters, digits, '_', '.', '@' and '-'"
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_HIDDEN = "a value"  # a secret is never quoted


def tenant_of(parameters: Iterable[tuple[str, Any]], secret: str = "") -> str:
    """Return the tenant that the request parameters name, "" if they name none.

    ``secret``: what must come with a tenant's name; "" = everybody may name tenants.

    Raises InvalidRequest for a name that is not allowed or comes twice, and for a secret that is missing, wrong or not expected.
    """
    found: dict[str, Any] = {}
    for name, value in parameters:
        header = name.lower()  # HTTP/1.1 sends names as their writer spelt them
        if header in HEADERS:
            if header in found:
                raise InvalidRequest(header, "two values", "one value, from a header or a request parameter")
            found[header] = value
    if TENANT_SECRET in found:
        _check_secret(found[TENANT_SECRET], secret)
    if TENANT not in found:
        return ""
    if secret and TENANT_SECRET not in found:
        raise InvalidRequest(TENANT, found[TENANT], f"nothing without {TENANT_SECRET}: on this server only a gateway names tenants")
    return _checked_name(found[TENANT])


def _check_secret(given: Any, secret: str) -> None:
    if not secret:
        raise InvalidRequest(TENANT_SECRET, _HIDDEN, "nothing: this server has no secret for tenants (--tenant-secret-file)")
    if not isinstance(given, str) or not secrets.compare_digest(given.encode(errors="surrogatepass"), secret.encode()):
        raise InvalidRequest(TENANT_SECRET, _HIDDEN, "the secret of the server's --tenant-secret-file")


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidRequest(TENANT, name, ALLOWED)
    return name
