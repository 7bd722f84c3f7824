# SPDX-License-Identifier: Apache-2.0
"""The common part of both clients: their arguments, and the making of requests. Opens no connection."""

from __future__ import annotations

import copy
import numbers
import time
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from typing import Any, Self

from s1_client._errors import InvalidRequest, S1Error
from s1_client._exchange import Exchange, named, with_request
from s1_client._fields import FIELDS
from s1_client._options import Prompt
from s1_client._settings import CONNECT_TIMEOUT_S, DEADLINE_S, KEEPALIVE_S, MAX_RETRIES, TLS, Settings, allowed_for, make_settings
from s1_client._suggest import unknown
from s1_client._wire import MODEL, check_options
from s1_client._wire.values import shown

PER_CALL = ("deadline_s", "max_retries", "tenant")
CHANGEABLE = ("model", *PER_CALL)  # the rest is the connection's
_CONNECTION = {field.name for field in fields(Settings)} | {"url", "token", "secret", "trust_env"}


class BaseClient:
    """The arguments of both clients.

        client = Client("grpcs://gpu1:8001", deadline_s=600, max_retries=5)
        brief = client.with_options(max_thinking_tokens=500)  # on the same connection

    Args:
        url: "host:port" of Triton's gRPC endpoint ("[IPv6]:port"), with "grpcs://" in front for TLS; default $S1_URL,
            else 127.0.0.1:8001.
        model: the model's name on the server.
        deadline_s: time limit of a request in seconds, retries and waiting included. The server ends the request then.
        connect_timeout_s: time limit of connecting alone, in seconds.
        max_retries: retries of a request that was rejected or never arrived; only before its first event.
        keepalive_s: interval of keepalive pings on an idle connection, in seconds.
        tls: certificates; default $S1_CA_FILE, $S1_CERT_FILE, $S1_KEY_FILE.
        token: bearer token for a gateway in front of Triton; default $S1_TOKEN.
        secret: secret of Triton's restricted protocols: the launcher's, or "name=value" for another header; default $S1_SECRET.
        tenant: whose the requests are, for a server that keeps tenants apart; default $S1_TENANT, else nobody's in particular.
        metadata: additional gRPC headers.
        trust_env: whether environment variables count, those of HTTP proxies ($http_proxy) included. A server on this machine is never
            reached through a proxy.

    Raises ValueError for an argument that is not allowed; the message names it. Raises OSError for a file of ``tls`` that cannot
    be read.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        model: str = MODEL,
        deadline_s: float = DEADLINE_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
        keepalive_s: float = KEEPALIVE_S,
        tls: TLS | None = None,
        token: str | None = None,
        secret: str | None = None,
        tenant: str | None = None,
        metadata: Mapping[str, str] | None = None,
        trust_env: bool = True,
    ) -> None:
        access = {"tls": tls, "token": token, "secret": secret, "metadata": {} if metadata is None else metadata, "trust_env": trust_env}
        limits = {"deadline_s": deadline_s, "connect_timeout_s": connect_timeout_s, "max_retries": max_retries}
        self._settings = make_settings(url, **access, model=model, tenant=tenant, keepalive_s=keepalive_s, **limits)  # type: ignore[arg-type]
        self._connect()

    def _connect(self) -> None:
        """Create the connection object, which connects with its first call."""
        raise NotImplementedError

    def with_options(self, **changes: Any) -> Self:
        """Return a client on the same connection with other settings: ``model``, ``deadline_s``, ``max_retries``,
        ``tenant``, or defaults of request fields, as in ``client.with_options(max_thinking_tokens=2000)``. Closing either client closes
        the connection.

        Raises TypeError for any other name, and ValueError or InvalidRequest for a value that is not allowed.
        """
        settings, defaults = self._split(changes, CHANGEABLE)
        check_options(defaults)
        other = copy.copy(self)
        vars(other)["_settings"] = replace(settings, defaults={**settings.defaults, **defaults})
        return other

    def _split(self, options: Mapping[str, Any], own: Collection[str]) -> tuple[Settings, dict[str, Any]]:
        """Return the settings, changed by the options in ``own`` that are not None, and the other options.

        Raises TypeError for an option that is neither a request field nor in ``own``.
        """
        changes = {name: value for name, value in options.items() if name in own and value is not None}
        rest = {name: value for name, value in options.items() if name not in own}
        for name in rest:
            if name == "deltas":
                raise TypeError("'deltas' is an argument of stream() alone")
            if name == "request_id":
                raise TypeError("'request_id' is an argument of each call; a Request of map() has it as id")
            if name in CHANGEABLE:
                raise TypeError(f"'{name}' is no option of a call: use client.with_options({name}=...)")
            if name in _CONNECTION:
                raise TypeError(f"'{name}' belongs to the connection: make another client")
            if name not in FIELDS:
                raise TypeError(unknown("option", name, (*FIELDS, *own)))
        return replace(self._settings, **changes) if changes else self._settings, rest

    def _check_single_sample(self, options: Mapping[str, Any]) -> None:
        """Raise TypeError if the options, or the client's defaults, request several samples."""
        num_samples = {**self._settings.defaults, **options}.get("num_samples")
        if isinstance(num_samples, numbers.Integral) and int(num_samples) > 1:
            raise TypeError("think() is for one sample; for several there is samples()")

    def _exchange(self, prompt: Prompt, options: Mapping[str, Any], request_id: str, *, deltas: bool) -> Exchange:
        name = named(request_id)
        try:
            if not isinstance(deltas, bool):
                raise InvalidRequest("deltas", shown(deltas), "True or False")
            _check_limits(options)
            settings, rest = self._split(options, PER_CALL)
            return Exchange(prompt, rest, settings, name, time.monotonic(), is_streamed=deltas)
        except S1Error as error:
            raise with_request(error, name) from None


def _check_limits(options: Mapping[str, Any]) -> None:
    for name in PER_CALL:
        value = options.get(name)
        if value is not None and (allowed := allowed_for(name, value)):
            raise InvalidRequest(name, shown(value), allowed)
