# SPDX-License-Identifier: Apache-2.0
"""The processes in which Triton runs Python models ("stubs"), and whether one has died.

Triton does not start a dead one again, neither 24.10 (tried with SIGKILL) nor r26.07 (python_backend: src/stub_launcher.cc
@f9088ff), and goes on listing its model as ready. A request that it was computing never ends. So whoever owns the
server has to notice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from budgetforce.processes import arguments, is_running, members

_PROGRAM = "triton_python_backend_stub"  # PROGRAM MODEL.py REGION … INSTANCE FOLDER (24.10 and r26.07)


@dataclass(slots=True, kw_only=True)
class Stubs:
    """Those of a server.

    Attributes:
        session: the server's, which they are in.
        is_loaded: whether the server has a model loaded: one that was unloaded in good order has no stub either.
    """

    session: int
    is_loaded: Callable[[str], bool]
    _known: dict[str, tuple[int, str]] = field(default_factory=dict)  # (pid, model) by model instance
    _lost: set[str] = field(default_factory=set)

    def died(self) -> str | None:
        """Return a sentence that names a stub that has died, else None. Each call looks at the processes once.

        A stub has died if an earlier call saw it run, and neither this call nor the one before did.
        """
        self._look()
        lost = {instance for instance, (pid, _) in self._known.items() if not is_running(pid, self.session)}
        for instance in sorted(lost & self._lost):  # not at once: it may be on its way out in good order
            pid, model = self._known.pop(instance)
            if self.is_loaded(model):
                return f"the process of model '{model}' (instance {instance}, pid {pid}) died, and Triton starts no other"
        self._lost = lost
        return None

    def _look(self) -> None:
        for pid in members(self.session):
            given = [part for part in arguments(pid) if part]
            if len(given) > 3 and Path(given[0]).name == _PROGRAM:
                self._known[given[-2]] = pid, Path(given[1]).parts[-3]
