# SPDX-License-Identifier: Apache-2.0
"""Notice the death of a stub, the process in which Triton runs a Python model.

Triton does not restart a dead stub, neither 24.10 (tried with SIGKILL) nor r26.07 (python_backend: src/stub_launcher.cc
@f9088ff), and goes on listing its model as ready. A request that the stub was computing never ends. So the owner of the
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
    """The stubs of one server.

    Attributes:
        session: the server's session, which its stubs are in.
        is_loaded: whether the server has a model loaded; a model that was unloaded has no stub either.
    """

    session: int
    is_loaded: Callable[[str], bool]
    _known: dict[str, tuple[int, str]] = field(default_factory=dict)  # (pid, model) by model instance
    _lost: set[str] = field(default_factory=set)

    def died(self) -> str | None:
        """Return a sentence that names a stub that has died, else None. Each call looks at the processes once.

        A stub has died if an earlier call saw it run, and neither this call nor the one before did.
        """
        self._find_stubs()
        lost = {instance for instance, (pid, _) in self._known.items() if not is_running(pid, self.session)}
        for instance in sorted(lost & self._lost):  # only at the second check: its model may just be unloading
            pid, model = self._known.pop(instance)
            if self.is_loaded(model):
                return f"the process of model '{model}' (instance {instance}, pid {pid}) died, and Triton does not restart it"
        self._lost = lost
        return None

    def _find_stubs(self) -> None:
        for pid in members(self.session):
            words = [part for part in arguments(pid) if part]
            if len(words) > 3 and Path(words[0]).name == _PROGRAM:
                self._known[words[-2]] = pid, Path(words[1]).parts[-3]
