# SPDX-License-Identifier: Apache-2.0
"""Convert lm-evaluation-harness's ``model_args`` and a task's ``generation_kwargs`` to request options.

    until                                                                           stop_words
    max_gen_toks, max_new_tokens, max_completion_tokens, max_tokens                 max_tokens
    do_sample: false                                                                temperature: 0
    any request option by its own name                                              itself

Other names are refused, and so are different values for the same option. Knows neither a server nor the harness.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s1_client import InvalidRequest
from s1_client._settings import DEADLINE_S, MAX_RETRIES
from s1_client._suggest import unknown
from s1_client._wire import MODEL, OPTIONS
from s1_client.evaluation._questions import check_values

CONCURRENCY = 64
_CONNECTION: dict[str, tuple[type, Any]] = {
    "url": (str, None),
    "model": (str, MODEL),
    "deadline_s": (float, DEADLINE_S),
    "max_retries": (int, MAX_RETRIES),
    "ca_file": (str, None),
    "cert_file": (str, None),
    "key_file": (str, None),
}
_RUN: dict[str, tuple[type, Any]] = {"concurrency": (int, CONCURRENCY), "results": (str, None)}
_HARNESS = {"batch_size": (None, 1, "1"), "max_batch_size": (None,), "device": (None, "cuda:0")}  # lm-eval's defaults
_CAPS = ("max_gen_toks", "max_new_tokens", "max_completion_tokens", "max_tokens")
_WHOLE = ("INT32", "UINT64")
_OWN = ("num_samples",)  # lm-eval repeats requests itself
_KINDS = {str: "text (in quotes, if it looks like a number)", int: "an integer", float: "a number"}


class BadArgument(ValueError):
    """An argument of the harness is not supported; the message says what is allowed."""


def connection_of(model_args: Mapping[str, Any]) -> tuple[dict[str, Any], int, str | None, dict[str, Any]]:
    """Return (arguments of the client, concurrency, path of results or None, all other arguments). Raises BadArgument."""
    rest = dict(model_args)
    for name, allowed in _HARNESS.items():
        if rest.pop(name, None) not in allowed:
            raise BadArgument(
                f"{name}: got {model_args[name]!r}, allowed: lm-eval's default; concurrency=N in model_args limits the requests in flight"
            )
    values = {name: _typed(name, rest.pop(name, None), *kind) for name, kind in {**_CONNECTION, **_RUN}.items()}
    concurrency, results = values.pop("concurrency"), values.pop("results")
    if concurrency < 1:
        raise BadArgument(f"concurrency: got {concurrency}, allowed: concurrency >= 1")
    return values, concurrency, results, rest


def _typed(name: str, value: Any, kind: type, default: Any) -> Any:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise BadArgument(f"{name}: got {value!r}, allowed: {_KINDS[kind]}")
    return value


def option_values(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the options that are not None. Raises BadArgument for an unknown name, or a value that its tensor cannot hold."""
    for name in given:
        if name not in OPTIONS or name in _OWN:
            known = [*(_CONNECTION | _RUN if where == "model_args" else ("until", "do_sample", *_CAPS[:-1])), *OPTIONS]
            raise BadArgument(f"{where}: {unknown('name', name, [option for option in known if option not in _OWN])}")
    found = {name: _whole(value) if OPTIONS[name] in _WHOLE else value for name, value in given.items() if value is not None}
    try:
        check_values(found)
    except (InvalidRequest, OverflowError) as error:
        raise BadArgument(f"{where}: {error}") from None
    return found


def _whole(value: Any) -> Any:
    """Return a whole float as an integer: the harness's command line parses "-1" as -1.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def options_of(gen_kwargs: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a request, from ``model_args`` and the task's ``generation_kwargs``. Raises BadArgument."""
    rest = {name: value for name, value in gen_kwargs.items() if value is not None}
    stops, sampled = rest.pop("until", ()), rest.pop("do_sample", None)
    caps = {name: rest.pop(name) for name in _CAPS if name in rest}
    if len(set(caps.values())) > 1:
        raise BadArgument(f"generation_kwargs: {', '.join(f'{name}={value}' for name, value in caps.items())}; allowed: only one of them")
    cap = next(iter(caps.values()), None)
    own = option_values({**rest, **_stop_words(stops), "max_tokens": cap}, "generation_kwargs")
    own.update(_sampling(sampled, own))
    for name in own.keys() & fixed.keys():
        if own[name] != fixed[name]:
            both = f"{name}: {fixed[name]!r} in model_args, {own[name]!r} in the task's generation_kwargs"
            raise BadArgument(f"{both}; allowed: only one of them (--gen_kwargs {name}=… overrides the task's)")
    return {**fixed, **own}


def _stop_words(stops: Any) -> dict[str, list[str]]:
    words = [stops] if isinstance(stops, str) else list(stops)
    return {"stop_words": [word for word in words if word]} if any(words) else {}


def _sampling(sampled: Any, own: Mapping[str, Any]) -> dict[str, float]:
    """Return temperature 0 for ``do_sample: false``. Raises BadArgument if ``do_sample`` contradicts the temperature."""
    temperature = own.get("temperature")
    if sampled not in (None, True, False):
        raise BadArgument(f"generation_kwargs: do_sample: got {sampled!r}, allowed: true or false")
    if sampled is not None and temperature is not None and bool(temperature) != sampled:
        allowed = "temperature > 0" if sampled else "temperature 0"
        raise BadArgument(f"generation_kwargs: do_sample: got {sampled} with temperature {temperature}, allowed: {allowed}")
    return {"temperature": 0.0} if sampled is False else {}
