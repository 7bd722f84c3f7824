# SPDX-License-Identifier: Apache-2.0
"""What a shell tells the core."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Started:
    """The reply may begin."""


@dataclass(frozen=True, slots=True)
class TokensSampled:
    """The engine sampled ``ids`` (one or many) in the running round; how they are cut into events never matters."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RoundEnded:
    """The engine has nothing more to send for the running round."""


@dataclass(frozen=True, slots=True)
class StopWordFound:
    """The text of the running round holds a stop word: one of the caller's in the answer, one of an audit
    preset's in the thought. The shell ends the round.
    """


@dataclass(frozen=True, slots=True)
class Reencoded:
    """The end of the context, from the start that a ``Reencode`` named, as text and back: now it is ``ids``."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AnswerNow:
    """The caller wants the answer: thinking closes at once. Without effect when it is closed already."""


@dataclass(frozen=True, slots=True)
class TimeIsUp:
    """The phase that runs has no more time: thinking closes at once, an answer ends with what it has."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The caller wants no more of it."""


Event = Started | TokensSampled | RoundEnded | StopWordFound | Reencoded | AnswerNow | TimeIsUp | Cancelled
