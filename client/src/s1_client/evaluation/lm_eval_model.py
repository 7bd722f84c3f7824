# SPDX-License-Identifier: Apache-2.0
"""Model ``s1-triton`` of lm-evaluation-harness (package lm-eval): runs its tasks on a served model with a thinking budget.

Importing this module registers the model. lm-eval up to 0.4.13 finds only its own models by name, so ``s1 lm-eval`` calls
its command; its plain command knows the model, too, after reading one of our task files (``recipes``), which import this
module. Later versions find it by the package's entry point.

    input            a prompt is the only user message; with --apply_chat_template lm-eval's chat
    template         the server's, in both cases
    output           the answer, injected text included; the thinking is in the trace
    trace            the whole reply in the third of the sample log's arguments: {"replies": [...]}, one reply per repeat
    failed requests  end the run with an error; no sample is invented
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
from s1_client.evaluation._lm_eval_options import BadArgument, connection_of, option_values, options_of
from s1_client.evaluation._seeds import shift_seeds
from s1_client.runs import BatchRequest, Progress, digest, entries_in, make_folder, open_results, run

NAME = "s1-triton"
_REPLIES = "replies"


class Chat(str):
    """A chat as JSON, since lm-eval requires a string."""

    __slots__ = ()

    @property
    def messages(self) -> list[dict[str, str]]:
        """The messages of the chat, each with ``role`` and ``content``."""
        found: list[dict[str, str]] = json.loads(self)
        return found


class Answer(str):
    """An answer with the reply that it belongs to, as JSON-compatible values."""

    reply: Mapping[str, Any]

    @classmethod
    def of(cls, reply: Mapping[str, Any]) -> Answer:
        """Return the answer of a reply, with the reply attached."""
        answer = cls(reply["answer"])
        answer.reply = reply
        return answer


@register_model(NAME)  # type: ignore[untyped-decorator,unused-ignore]
class S1Triton(LM):  # type: ignore[misc,unused-ignore]
    """An lm-eval model that sends requests to s1 on Triton.

    Args:
        model_args: ``url``, ``model``, ``deadline_s``, ``max_retries``, ``ca_file``, ``cert_file``, ``key_file`` as in
            ``s1_client.Client``; ``concurrency`` (64), the number of requests in flight; ``results``, a file that keeps
            each reply as it arrives, so that the next run resumes from it; and every request option. ``batch_size``,
            ``max_batch_size`` and ``device`` belong to the harness and must have its defaults.

    Raises BadArgument for an unknown argument or an invalid value.
    """

    progress = Progress()  # `s1 lm-eval` replaces it by one that draws a bar on a terminal

    def __init__(self, **model_args: Any) -> None:
        super().__init__()
        self._connection, self._concurrency, self._results, given = connection_of(model_args)
        self._options = option_values(given, "model_args")

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002  # lm-eval's
        """Return the answer to each request. Raises BadArgument for invalid arguments, or if requests failed."""
        to_send = list(self._to_send(requests))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(self._results) if self._results else Path(folder) / "results.jsonl"
            make_folder(path.parent)
            self._send(to_send, path)
            keys = {str(request.key) for request in to_send}
            replies = {entry["id"]: entry["reply"] for entry in entries_in(path) if entry["id"] in keys and "reply" in entry}
        return [_with_trace(request, replies[str(sent.key)]) for request, sent in zip(requests, to_send, strict=True)]

    def _to_send(self, requests: Sequence[Instance]) -> Iterator[BatchRequest]:
        """Yield the requests; equal requests are repeats, each with a key and, if seeds are given, a seed of its own."""
        repeats: Counter[str] = Counter()
        for line, request in enumerate(requests, 1):
            text, gen_kwargs = request.args[:2]
            prompt, options = text.messages if isinstance(text, Chat) else str(text), options_of(gen_kwargs, self._options)
            whole = digest(prompt, options, model=self._connection["model"])
            number = repeats[whole]
            repeats[whole] += 1
            meta = {"task": request.task_name, "doc": request.doc_id, "repeat": number}
            yield BatchRequest(
                prompt=prompt, options=shift_seeds(options, number), key=f"{whole}/r{number}", digest=whole, line=line, meta=meta
            )

    def _send(self, to_send: Sequence[BatchRequest], path: Path) -> None:
        with open_results(path) as results, self._client() as client:
            tally = run(
                client, to_send, results, self.progress, where="requests", concurrency=self._concurrency, is_kept=bool(self._results)
            )
        if tally.num_failed:
            errors = (entry["error"]["message"] for entry in entries_in(path) if "error" in entry)
            hint = "the same command sends only these again" if self._results else "results=FILE in model_args keeps the other replies"
            raise BadArgument(f"{tally.num_failed} of {tally.num_to_do} requests failed, the first with: {next(errors)}; {hint}")

    def _client(self) -> Client:
        rest = dict(self._connection)
        files = {name: rest.pop(name, None) for name in ("ca_file", "cert_file", "key_file")}
        try:
            return Client(rest.pop("url", None), tls=TLS(**files) if any(files.values()) else None, **rest)
        except (ValueError, OSError) as error:
            raise BadArgument(str(error)) from error

    # --- chats ------------------------------------------------------------------------------------

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> Chat:
        """Return the messages for the server's template. Raises BadArgument if the task begins the answer itself."""
        if not add_generation_prompt:
            raise BadArgument("gen_prefix: not supported, a task cannot begin the answer; the request option answer_prefix can")
        return Chat(json.dumps(chat_history, ensure_ascii=False))

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Return the description of the template for the results. Raises BadArgument for a template's name."""
        if isinstance(chat_template, str):
            raise BadArgument(f"apply_chat_template: got {chat_template!r}, allowed: no name, since the server's preset has the template")
        return "the server's"

    @property
    def tokenizer_name(self) -> str:
        """The key of the harness's cache of prompts, which contain no template."""
        return NAME

    # --- unsupported ------------------------------------------------------------------------------

    def set_cache_hook(self, cache_hook: CacheHook) -> None:
        """Raise BadArgument for a cache: its keys ignore model_args, so it would return replies to another budget."""
        if cache_hook.dbdict is not None:
            raise BadArgument(
                "use_cache: not supported, it does not distinguish budgets; results=FILE in --model_args keeps replies for the next run"
            )
        super().set_cache_hook(cache_hook)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Raise BadArgument: likelihoods are not supported."""
        raise BadArgument(_no_likelihood("loglikelihood", requests))

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Raise BadArgument: likelihoods are not supported."""
        raise BadArgument(_no_likelihood("loglikelihood_rolling", requests))


def _no_likelihood(kind: str, requests: Sequence[Instance]) -> str:
    task = requests[0].task_name if requests else None
    return f"task {task}: {kind} is not supported, it is undefined for an answer after thinking; allowed: tasks that generate their answer"


def _with_trace(request: Instance, reply: Mapping[str, Any]) -> Answer:
    """Return the answer, and store the reply in the request's arguments, which the sample log contains."""
    *_, last = request.args
    if not (isinstance(last, dict) and _REPLIES in last and len(request.args) == 3):
        last = {_REPLIES: []}
        request.arguments = (*request.args, last)
    last[_REPLIES].append(reply)
    return Answer.of(reply)
