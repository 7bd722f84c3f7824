# SPDX-License-Identifier: Apache-2.0
"""Budget forcing as a pure state machine on token ids.

The core knows no Triton, tensor, clock, tokenizer or logger. Ids and counts come in as events
(``events``); the next steps go out as actions (``actions``). Start reading in ``states``, then
``forcer``.
"""

from budgetforce.core.actions import Action, Emit, Finish, Generate, Reencode
from budgetforce.core.budget import BudgetRule
from budgetforce.core.errors import EngineProtocolError, ProtocolError, ShellProtocolError
from budgetforce.core.events import AnswerNow, Cancelled, Event, Reencoded, RoundEnded, Started, StopWordFound, TimeIsUp, TokensSampled
from budgetforce.core.forcer import BudgetForcer
from budgetforce.core.ledger import AnswerEnd, Ledger, RefusedFor, RoundEnd, RoundRecord, ThinkingEnd
from budgetforce.core.plan import ForcingPlan, ThinkingMode
from budgetforce.core.states import TRANSITIONS, Cause, Phase, State

__all__ = [
    "TRANSITIONS",
    "Action",
    "AnswerEnd",
    "AnswerNow",
    "BudgetForcer",
    "BudgetRule",
    "Cancelled",
    "Cause",
    "Emit",
    "EngineProtocolError",
    "Event",
    "Finish",
    "ForcingPlan",
    "Generate",
    "Ledger",
    "Phase",
    "ProtocolError",
    "Reencode",
    "Reencoded",
    "RefusedFor",
    "RoundEnd",
    "RoundEnded",
    "RoundRecord",
    "ShellProtocolError",
    "Started",
    "State",
    "StopWordFound",
    "ThinkingEnd",
    "ThinkingMode",
    "TimeIsUp",
    "TokensSampled",
]
