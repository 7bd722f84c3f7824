# SPDX-License-Identifier: Apache-2.0
"""Model ``s1-triton`` of lm-evaluation-harness (package lm-eval): its tasks, asked of a served model with a thinking budget.

Importing this registers it. lm-eval up to 0.4.13 finds only models of its own by name, so its command is called by
``s1 lm-eval``; its plain command knows the model, too, where a task file of ours is read (``recipes``), which imports
this. Later ones find it by the package's entry point.

    text in          a prompt is the one user message; with --apply_chat_template it is the chat as lm-eval makes it
    template         the server's, in both cases
    text out         the answer, injected text included; the thinking is in the trace
    trace            the whole reply, third of the sample log's arguments: {"replies": [...]}, one for each repeat
    failed requests  end the run with an error: no sample is made up
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, CacheHook
from lm_eval.api.registry import register_model

from s1_client import TLS, Client
from s1_client.cli._folder import make
from s1_client.cli._jsonl import Asked, digest
from s1_client.cli._results import entries_in, results_at
from s1_client.cli._run import run
from s1_client.evaluation._lm_eval_options import BadArgument, connection_of, option_values, options_of
from s1_client.evaluation._seeds import shift_seeds

NAME = "s1-triton"
_REPLIES = "replies"


class Chat(str):
    """A chat, in the JSON that lm-eval wants to have as one string."""

    __slots__ = ()

    @property
    def messages(self) -> list[dict[str, str]]:
        """With ``role`` and ``content``."""
        found: list[dict[str, str]] = json.loads(self)
        return found


class Answer(str):
    """An answer that knows the reply it is of, as JSON has it."""

    reply: Mapping[str, Any]

    @classmethod
    def of(cls, reply: Mapping[str, Any]) -> Answer:
        """The answer of a reply."""
        answer = cls(reply["answer"])
        answer.reply = reply
        return answer


@register_model(NAME)  # type: ignore[untyped-decorator,unused-ignore]
class S1Triton(LM):  # type: ignore[misc,unused-ignore]
    """A model behind s1 on Triton.

    Args:
        model_args: ``url``, ``model``, ``deadline_s``, ``max_retries``, ``ca_file``, ``cert_file``, ``key_file`` as
            ``s1_client.Client`` has them; ``concurrency`` (64), how many requests run at once; ``results``, a file that
            keeps each reply as it comes, from which the next run goes on; and every option of a request. ``batch_size``,
            ``max_batch_size`` and ``device`` are the harness's own, and must be what it gives by default.

    Raises BadArgument for one that there is not, or whose value cannot be.
    """

    def __init__(self, **model_args: Any) -> None:
        super().__init__()
        self._connection, self._concurrency, self._results, given = connection_of(model_args)
        self._options = option_values(given, "model_args")

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002  # lm-eval's
        """The answer to each request. Raises BadArgument for what cannot be asked, or if requests failed."""
        asked = list(self._asked(requests))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(self._results) if self._results else Path(folder) / "results.jsonl"
            make(path.parent)
            self._ask(asked, path)
            wanted = {str(one.key) for one in asked}
            replies = {entry["id"]: entry["reply"] for entry in entries_in(path) if entry["id"] in wanted and "reply" in entry}
        return [_told(request, replies[str(one.key)]) for request, one in zip(requests, asked, strict=True)]

    def _asked(self, requests: Sequence[Instance]) -> Iterator[Asked]:
        """Equal requests are repeats: each has a key and, if one is given, a seed of its own."""
        repeats: Counter[str] = Counter()
        for line, request in enumerate(requests, 1):
            text, gen_kwargs = request.args[:2]
            prompt, options = text.messages if isinstance(text, Chat) else str(text), options_of(gen_kwargs, self._options)
            whole = digest(prompt, options, model=self._connection["model"])
            number = repeats[whole]
            repeats[whole] += 1
            meta = {"task": request.task_name, "doc": request.doc_id, "repeat": number}
            yield Asked(prompt=prompt, options=shift_seeds(options, number), key=f"{whole}/r{number}", digest=whole, line=line, meta=meta)

    def _ask(self, asked: Sequence[Asked], path: Path) -> None:
        with results_at(path) as results, self._client() as client:
            tally = run(client, asked, results, where="requests", concurrency=self._concurrency, is_kept=bool(self._results))
        if tally.num_failed:
            errors = (entry["error"]["message"] for entry in entries_in(path) if "error" in entry)
            hint = "the same command asks only for them again" if self._results else "with results=FILE the others would have been kept"
            raise BadArgument(f"{tally.num_failed} of {tally.num_to_do} requests failed, the first one with: {next(errors)}; {hint}")

    def _client(self) -> Client:
        rest = dict(self._connection)
        files = {name: rest.pop(name, None) for name in ("ca_file", "cert_file", "key_file")}
        try:
            return Client(rest.pop("url", None), tls=TLS(**files) if any(files.values()) else None, **rest)
        except (ValueError, OSError) as error:
            raise BadArgument(str(error)) from error

    # --- chats ------------------------------------------------------------------------------------

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> Chat:
        """The messages, for the server's template. Raises BadArgument for an answer that is begun already."""
        if not add_generation_prompt:
            raise BadArgument("gen_prefix: a task's own beginning of an answer is not possible here; answer_prefix is the option for it")
        return Chat(json.dumps(chat_history, ensure_ascii=False))

    def chat_template(self, chat_template: bool | str = False) -> str:
        """What results tell of the template. Raises BadArgument for the name of one."""
        if isinstance(chat_template, str):
            raise BadArgument(f"apply_chat_template: got {chat_template!r}, allowed: no name; the template is that of the server's preset")
        return "the server's"

    @property
    def tokenizer_name(self) -> str:
        """Of the harness's cache of prompts, which hold no template."""
        return NAME

    # --- what is refused --------------------------------------------------------------------------

    def set_cache_hook(self, cache_hook: CacheHook) -> None:
        """Raises BadArgument for a cache: its keys know no model_args, so that replies to another budget came out of it."""
        if cache_hook.dbdict is not None:
            raise BadArgument(
                "use_cache: it does not tell budgets apart; results=FILE in --model_args keeps replies, and goes on from them"
            )
        super().set_cache_hook(cache_hook)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Raises BadArgument."""
        raise BadArgument(_no_likelihood("loglikelihood", requests))

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Raises BadArgument."""
        raise BadArgument(_no_likelihood("loglikelihood_rolling", requests))


def _no_likelihood(kind: str, requests: Sequence[Instance]) -> str:
    task = requests[0].task_name if requests else None
    return f"task {task} asks for {kind}, which a thought before the answer leaves without a meaning; take a task that generates its answer"


def _told(request: Instance, reply: Mapping[str, Any]) -> Answer:
    """The answer; the reply goes where the sample log takes it from."""
    *_, last = request.args
    if not (isinstance(last, dict) and _REPLIES in last and len(request.args) == 3):
        last = {_REPLIES: []}
        request.arguments = (*request.args, last)
    last[_REPLIES].append(reply)
    return Answer.of(reply)
