# SPDX-License-Identifier: Apache-2.0
"""An orchestrator over an engine of the test's, which sends and works in the thread that calls it."""

from budgetforce.config import LOG_LEVELS, OrchestratorConfig
from budgetforce.presets import Preset
from budgetforce.serving.logs import ServerLog
from budgetforce.serving.orchestrator import Orchestrator
from budgetforce.serving.planning.planner import Planner
from budgetforce.serving.replies.send_batch import BatchSender
from budgetforce.serving.replies.send_queue import SendQueue
from budgetforce.serving.request_work import RequestWork
from budgetforce.serving.runtime import InlineExecutor

CONTEXT_TOKENS = 1000


def orchestrator_over(engine, tokenizer, *, config=None, **parts):
    """Return an orchestrator. ``config``: parameters of model ``s1`` that differ; ``parts``: attributes of the orchestrator likewise."""
    settings = {"engine_model": "scripted", "engine_url": "x:1", "tokenizer_dir": "x", "preset": "smollm2", "vocab_rows": 49152}
    own = {
        "config": OrchestratorConfig(max_context_tokens=CONTEXT_TOKENS, **settings, **(config or {})),
        "tokenizer": tokenizer,
        "planner": Planner(tokenizer, Preset.load("smollm2"), CONTEXT_TOKENS),
        "engine": engine,
        "stream_queue": SendQueue(BatchSender()),
        "senders": InlineExecutor(),
        "work": RequestWork(InlineExecutor()),
        "log": ServerLog(dict.fromkeys(LOG_LEVELS, print)),
    }
    return Orchestrator(**own | parts)
