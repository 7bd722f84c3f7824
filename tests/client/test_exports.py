# SPDX-License-Identifier: Apache-2.0
"""The public surface, frozen: a change of it is a change of public_api.txt, which `python tests/client/test_exports.py` writes."""

import inspect
from collections.abc import Mapping
from pathlib import Path

import s1_client
import s1_client.evaluation
import s1_client.testing

FROZEN = Path(__file__).with_name("public_api.txt")
MODULES = (s1_client, s1_client.evaluation, s1_client.testing)


def test_all_is_what_is_exported():
    for module in MODULES:
        public = {name for name, value in vars(module).items() if not name.startswith("_") and not inspect.ismodule(value)}
        assert public - {"annotations"} == set(module.__all__)


def test_the_surface_is_the_frozen_one():
    assert "\n".join(surface()) + "\n" == FROZEN.read_text()


def test_everything_public_says_what_it_is():
    undocumented = [
        f"{name}.{member}"
        for module in MODULES
        for name in module.__all__
        if inspect.isclass(kind := getattr(module, name))
        for member, value in members(kind)
        if not member.startswith("__") and not inspect.getdoc(value.fget if isinstance(value, property) else value)
    ]
    assert undocumented == []


def surface():
    """Yield a line for each public name and for each of its members."""
    for module in MODULES:
        for name in sorted(module.__all__):
            kind = getattr(module, name)
            if not inspect.isclass(kind):
                yield f"{module.__name__}.{name}{said(kind)}"
                continue
            bases = ", ".join(base.__name__ for base in kind.__mro__[1:-1] if not base.__name__.startswith("_"))
            yield f"{module.__name__}.{name}({bases}){signature(kind)}"
            yield from (f"    {member}{'' if isinstance(value, property) else signature(value)}" for member, value in members(kind))


def said(value):
    """Return a function's arguments or a table's keys: a repr would have another address in each process."""
    if inspect.isfunction(value):
        return signature(value)
    return f" = {list(value) if isinstance(value, Mapping) else value}"


def members(kind):
    for member in sorted(dir(kind)):
        value = inspect.getattr_static(kind, member)
        value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        is_ours = str(getattr(value.fget if isinstance(value, property) else value, "__module__", "")).startswith("s1_client")
        if is_ours and not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            yield member, value


def signature(of):
    try:
        return str(inspect.signature(of))
    except ValueError:  # an exception without an __init__ of its own
        return "(message)"


if __name__ == "__main__":
    FROZEN.write_text("\n".join(surface()) + "\n")
