# SPDX-License-Identifier: Apache-2.0
"""Errors of the core, split by who broke the protocol: our shell or the engine (as h11 splits Local and Remote)."""

from __future__ import annotations


class ProtocolError(Exception):
    """Base of both errors. The forcer that raised it is in DONE."""


class ShellProtocolError(ProtocolError):
    """The shell sent an event that the state does not allow: a bug of ours, never the engine's or the caller's."""


class EngineProtocolError(ProtocolError):
    """The engine sampled or ended a round against its contract; the message says how."""
