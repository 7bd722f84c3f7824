# SPDX-License-Identifier: Apache-2.0
"""What a real reply shows of a server: the second half of what `s1 doctor` checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from s1_client import AnswerOpened, ConnectionFailed, Event, Reply, S1Error
from s1_client.cli.server.checks import NOTE, OK, WRONG, DoctorContext, Finding, StopChecks, failure

NUM_THINKING_TOKENS = 96
# What the engine has in its KV cache when the thought goes on is more than a block of any engine.
QUESTION = "Here are some words to read before you answer. " * 16 + "What is 2 + 2?"
# Of Qwen2.5's tokenizer, for s1-32B: <|im_start|>, <|im_end|> and <|endoftext|>; <|im_start|>answer.
S1_TERMINATORS, S1_ANSWER = {151644, 151645, 151643}, (151644, 9217)
S1_CONTEXT_TOKENS = 32768


@dataclass(slots=True)
class Probe:
    """A reply and the events that it came in."""

    reply: Reply
    events: Sequence[Event] = field(default_factory=list)


def ask(ctx: DoctorContext) -> Probe:
    """A short thought whose end is refused, or that is cut, and an answer. Raises S1Error."""
    with ctx.client.stream(QUESTION, max_thinking_tokens=NUM_THINKING_TOKENS, num_ignore=1, max_tokens=4) as stream:
        events = list(stream)
        return Probe(stream.reply(), events)


def examined(ctx: DoctorContext) -> Iterator[Finding]:
    """All that a reply shows. Raises StopChecks if there is none."""
    try:
        probe = ask(ctx)
    except S1Error as error:
        mend = "" if isinstance(error, ConnectionFailed) else f"look for request {error.request_id} in the server's log"
        yield failure("reply", error, mend)
        raise StopChecks from error
    yield reply(probe.reply)
    yield account(probe.reply)
    yield from engine(ctx, probe.reply)
    yield from tokenizer(probe)
    yield kv_reuse(probe.reply)
    yield context(probe.reply)


def reply(reply: Reply) -> Finding:
    """It came, and how fast."""
    first_ms = next((one.first_token_ms for one in reply.trace if one.first_token_ms is not None), 0.0)
    usage = reply.usage
    took = f"{reply.result.total_ms:.0f} ms, the first after {first_ms:.0f} ms"
    text = f"{usage.num_thinking_tokens} tokens thought and {usage.num_answer_tokens} answered in {took}"
    return Finding(check="reply", state=OK, text=text)


def account(reply: Reply) -> Finding:
    """Every token is accounted for, and the budget was kept."""
    usage = reply.usage
    told = usage.num_thinking_sampled + usage.num_answer_tokens + usage.num_terminators + usage.num_dropped
    sampled = sum(one.num_sampled_tokens for one in reply.trace)
    if told == sampled and usage.num_thinking_tokens <= NUM_THINKING_TOKENS:
        return Finding(check="account", state=OK, text=f"{len(reply.trace)} rounds add up; a budget of {NUM_THINKING_TOKENS} was kept")
    text = f"{told} of {sampled} sampled tokens are accounted for; {usage.num_thinking_tokens} were thought of {NUM_THINKING_TOKENS}"
    return Finding(check="account", state=WRONG, text=text, mend="a bug of the server: report it with what s1 ask --json prints")


def engine(ctx: DoctorContext, reply: Reply) -> Iterator[Finding]:
    """Which engine computed it, and how that was built."""
    name = str(reply.result.effective.get("engine_model", ""))
    if not name:
        return
    try:
        ready = ctx.server.has_ready(name)
        manifest = ctx.server.parameter(name, "engine_manifest") if ready else None
    except S1Error:  # on a server of its own
        yield Finding(check="engine", state=OK, text=f"'{name}', on another server")
        return
    yield Finding(check="engine", state=OK if ready else NOTE, text=f"'{name}' {'is ready' if ready else 'is on another server'}")
    if manifest is not None:
        yield Finding(check="manifest", state=OK, text=manifest)
    elif name == "tensorrt_llm":
        yield Finding(check="manifest", state=NOTE, text="the engine does not say what it was built from", mend="build it with build/")


def tokenizer(probe: Probe) -> Iterator[Finding]:
    """The markers and terminators are the model's."""
    preset = probe.reply.result.effective.get("preset")
    answer = next((event.ids for event in probe.events if isinstance(event, AnswerOpened)), ())
    ends = {one.terminator_id for one in probe.reply.trace if one.terminator_id is not None}
    text = f"preset {preset}: the answer opens with {list(answer)}, rounds ended with {sorted(ends) or 'no terminator'}"
    wrong = preset == "s1" and (tuple(i for i in answer if i != 198)[:2] != S1_ANSWER or not ends <= S1_TERMINATORS)
    mend = f"the tokenizer is not Qwen2.5's: expected {list(S1_ANSWER)} and {sorted(S1_TERMINATORS)}" if wrong else ""
    yield Finding(check="tokenizer", state=WRONG if wrong else OK, text=text, mend=mend)


def kv_reuse(reply: Reply) -> Finding:
    """What a round continues is found in the KV cache, not computed again."""
    last = reply.trace[-1]
    if last.kv_reused_blocks is None:
        return Finding(check="KV reuse", state=NOTE, text="the engine does not tell", mend="return_perf_metrics in its config")
    if last.kv_reused_blocks == 0:
        mend = "enable_kv_cache_reuse in its config, use_paged_context_fmha when it is built"
        return Finding(
            check="KV reuse",
            state=WRONG,
            text=f"off: round {len(reply.trace)} computed all {last.num_prompt_tokens} tokens again",
            mend=mend,
        )
    text = f"on: round {len(reply.trace)} found {last.kv_reused_blocks} blocks of its {last.num_prompt_tokens} tokens"
    return Finding(check="KV reuse", state=OK, text=text)


def context(reply: Reply) -> Finding:
    """There is room for the thoughts that the model was made for."""
    effective = reply.result.effective
    length = int(effective.get("max_context_tokens", 0))
    short = effective.get("preset") == "s1" and length < S1_CONTEXT_TOKENS
    mend = f"build the engine with max_seq_len {S1_CONTEXT_TOKENS} for thoughts of 32,000 tokens" if short else ""
    return Finding(check="context", state=NOTE if short else OK, text=f"{length} tokens for prompt, thinking and answer", mend=mend)
