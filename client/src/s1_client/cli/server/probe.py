# SPDX-License-Identifier: Apache-2.0
"""The checks of `s1 doctor` that need a real reply: its ledger, engine, tokenizer, KV cache reuse and context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from s1_client import AnswerOpened, ConnectionFailed, Event, Reply, S1Error
from s1_client.cli.server.checks import NOTE, OK, WRONG, DoctorContext, Finding, StopChecks, failure

NUM_THINKING_TOKENS = 96
# Long enough that the KV cache holds more than a block of any engine when the thinking continues.
QUESTION = "Here are some words to read before you answer. " * 16 + "What is 2 + 2?"
EMBEDDED_ENGINE = "embedded_llm"  # serves models of any tokenizer and context, s1-tiny among them, also with preset s1
# Of Qwen2.5's tokenizer, for s1-32B: <|im_start|>, <|im_end|> and <|endoftext|>; <|im_start|>answer.
S1_TERMINATORS, S1_ANSWER = {151644, 151645, 151643}, (151644, 9217)
S1_CONTEXT_TOKENS = 32768


@dataclass(slots=True)
class Probe:
    """A reply and its events."""

    reply: Reply
    events: Sequence[Event] = field(default_factory=list)


def ask(ctx: DoctorContext) -> Probe:
    """Request a short reply whose thinking has a refused end or is cut, and return it. Raises S1Error."""
    with ctx.client.stream(QUESTION, max_thinking_tokens=NUM_THINKING_TOKENS, num_ignore=1, max_tokens=4) as stream:
        events = list(stream)
        return Probe(stream.reply(), events)


def examined(ctx: DoctorContext) -> Iterator[Finding]:
    """Yield the findings from a reply. Raises StopChecks if the request fails."""
    try:
        probe = ask(ctx)
    except S1Error as error:
        fix = "" if isinstance(error, ConnectionFailed) else f"look for request {error.request_id} in the server's log"
        yield failure("reply", error, fix)
        raise StopChecks from error
    yield reply(probe.reply)
    yield ledger(probe.reply)
    yield from engine(ctx, probe.reply)
    yield training(probe.reply)
    yield from tokenizer(probe)
    yield kv_reuse(probe.reply)
    yield context(probe.reply)


def reply(reply: Reply) -> Finding:
    """Report the reply's token counts and times."""
    first_ms = next((entry.first_token_ms for entry in reply.trace if entry.first_token_ms is not None), 0.0)
    usage = reply.usage
    times = f"{reply.result.total_ms:.0f} ms, the first token after {first_ms:.0f} ms"
    text = f"{usage.num_thinking_tokens} tokens of thinking and {usage.num_answer_tokens} of the answer in {times}"
    return Finding(check="reply", state=OK, text=text)


def ledger(reply: Reply) -> Finding:
    """Check that every sampled token is in the ledger, and that the budget was kept."""
    usage = reply.usage
    counted = usage.num_thinking_sampled + usage.num_answer_tokens + usage.num_terminators + usage.num_dropped
    sampled = sum(entry.num_sampled_tokens for entry in reply.trace)
    if counted == sampled and usage.num_thinking_tokens <= NUM_THINKING_TOKENS:
        text = f"{len(reply.trace)} rounds add up; the budget of {NUM_THINKING_TOKENS} tokens was kept"
        return Finding(check="ledger", state=OK, text=text)
    text = (
        f"{counted} of {sampled} sampled tokens are counted; thinking: {usage.num_thinking_tokens} tokens, allowed: {NUM_THINKING_TOKENS}"
    )
    return Finding(check="ledger", state=WRONG, text=text, fix="this is a bug of the server: report it with the output of s1 ask --json")


def engine(ctx: DoctorContext, reply: Reply) -> Iterator[Finding]:
    """Report the engine of the reply and the manifest that it was built from."""
    name = str(reply.result.effective.get("engine_model", ""))
    if not name:
        return
    try:
        ready = ctx.server.has_ready(name)
        manifest = ctx.server.parameter(name, "engine_manifest") if ready else None
    except S1Error:  # the engine runs on another server
        yield Finding(check="engine", state=OK, text=f"'{name}', on another server")
        return
    yield Finding(check="engine", state=OK if ready else NOTE, text=f"'{name}' {'is ready' if ready else 'is on another server'}")
    if manifest is not None:
        yield Finding(check="manifest", state=OK, text=manifest)
    elif name == "tensorrt_llm":
        yield Finding(check="manifest", state=NOTE, text="the engine has no manifest of its build", fix="build it with build/engine.py")


def training(reply: Reply) -> Finding:
    """Report how the engine's model was trained, if the server knows it."""
    record = reply.result.training
    if record is None:
        return Finding(check="training", state=OK, text="the engine's model has no training record")
    data = f"{record.dataset} ({record.dataset_sha256[:12]})"
    text = f"{record.id}: {record.name}, from {record.base_model or 'random weights'}, on {data}, recipe {record.recipe_sha256[:12]}"
    return Finding(check="training", state=OK, text=text)


def tokenizer(probe: Probe) -> Iterator[Finding]:
    """Check that markers and terminators match the preset's model."""
    preset = probe.reply.result.effective.get("preset")
    answer = next((event.ids for event in probe.events if isinstance(event, AnswerOpened)), ())
    ends = {entry.terminator_id for entry in probe.reply.trace if entry.terminator_id is not None}
    text = f"preset {preset}: the answer opens with {list(answer)}, rounds ended with {sorted(ends) or 'no terminator'}"
    is_wrong = _is_s1_32b(probe.reply) and (tuple(i for i in answer if i != 198)[:2] != S1_ANSWER or not ends <= S1_TERMINATORS)
    fix = f"the tokenizer is not Qwen2.5's: expected {list(S1_ANSWER)} and {sorted(S1_TERMINATORS)}" if is_wrong else ""
    yield Finding(check="tokenizer", state=WRONG if is_wrong else OK, text=text, fix=fix)


def _is_s1_32b(reply: Reply) -> bool:
    """Return whether the reply's model is s1-32B or s1.1-32B, judged by its preset and its engine."""
    effective = reply.result.effective
    return effective.get("preset") == "s1" and effective.get("engine_model") != EMBEDDED_ENGINE


def kv_reuse(reply: Reply) -> Finding:
    """Check that the last round found its prompt in the KV cache instead of prefilling it again."""
    last = reply.trace[-1]
    if last.kv_reused_blocks is None:
        return Finding(check="KV reuse", state=NOTE, text="the engine does not report it", fix="set return_perf_metrics in its config")
    if last.kv_reused_blocks == 0 and reply.result.effective.get("engine_model") == EMBEDDED_ENGINE:
        text = f"round {len(reply.trace)}: 0 blocks counted for its {last.num_prompt_tokens} tokens; this engine may count too few"
        return Finding(check="KV reuse", state=NOTE, text=text)
    if last.kv_reused_blocks == 0:
        fix = "set enable_kv_cache_reuse in its config, and build it with use_paged_context_fmha"
        return Finding(
            check="KV reuse",
            state=WRONG,
            text=f"off: round {len(reply.trace)} prefilled all {last.num_prompt_tokens} tokens again",
            fix=fix,
        )
    text = f"on: round {len(reply.trace)} reused {last.kv_reused_blocks} KV blocks for its {last.num_prompt_tokens} tokens"
    return Finding(check="KV reuse", state=OK, text=text)


def context(reply: Reply) -> Finding:
    """Check that the context has room for the longest thinking of the preset's model."""
    effective = reply.result.effective
    length = int(effective.get("max_context_tokens", 0))
    is_short = _is_s1_32b(reply) and length < S1_CONTEXT_TOKENS
    fix = f"build the engine with max_seq_len {S1_CONTEXT_TOKENS} for thinking of 32,000 tokens" if is_short else ""
    return Finding(check="context", state=NOTE if is_short else OK, text=f"{length} tokens for prompt, thinking and answer", fix=fix)
