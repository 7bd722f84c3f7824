# SPDX-License-Identifier: Apache-2.0
"""Every spelling of a thinking budget, in one table: the fields of other servers and clients, and what each means here.

A row is a path in the body and the function that reads its value into meanings. Two rows that disagree are refused, naming both;
a number of tokens and an effort disagree always. Sources: the documentation and sources of OpenAI, vLLM, SGLang, TensorRT-LLM, NVIDIA's
NIM and Dynamo, llama.cpp, Anthropic, OpenRouter, Qwen's DashScope, Ollama and FastDeploy, November 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from s1_client.gateway.errors import contradiction
from s1_client.gateway.shapes import Strict, neutral

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Tokens = Annotated[int, Field(ge=-1, le=2**31 - 1)]
Names = Literal["reasoning_content", "reasoning"]

# What a spelling may speak about. Of each, all spellings of a request must agree.
TOGGLE, BUDGET, MODE, SHOWN = "whether to think", "the thinking budget", "the mode of thinking", "whether the thought is sent"
ON, OFF = "on", "off"
Meaning = tuple[str, Any]


# --- shapes of the nested ones ----------------------------------------------------------------


class ReasoningOptions(Strict):
    """``reasoning`` of OpenRouter and SGLang; that of OpenAI's Responses API has more fields."""

    effort: Effort | None = None
    max_tokens: Tokens | None = None
    exclude: bool | None = None
    enabled: bool | None = None


class ThinkingOptions(Strict):
    """``thinking`` of Anthropic, TensorRT-LLM and Kimi."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Tokens | None = None
    effort: Effort | None = None
    display: Literal["summarized", "omitted"] | None = None


class TemplateOptions(Strict):
    """``chat_template_kwargs`` of vLLM, SGLang, TensorRT-LLM and NIM: only the keys that are about thinking have a meaning here."""

    enable_thinking: bool | None = None
    thinking: bool | None = None
    thinking_budget: Tokens | None = None
    reasoning_effort: Effort | None = None


class NvidiaOptions(Strict):
    """``nvext`` of NVIDIA's NIM 1.x and Dynamo."""

    max_thinking_tokens: Tokens | None = None


class CustomParams(Strict):
    """``custom_params`` of SGLang's chat API."""

    thinking_budget: Tokens | None = None


class OutputConfig(Strict):
    """Field ``output_config`` of Anthropic: an effort; the format of an answer is its schema."""

    effort: Effort | None = None
    format: neutral(why="this server cannot hold an answer to a schema") = None  # type: ignore[valid-type]


class BudgetFields(Strict):
    """The fields that the table reads. Every request model has them."""

    max_thinking_tokens: Tokens | None = None
    thinking_token_budget: Tokens | None = None
    thinking_budget: Tokens | None = None
    thinking_budget_tokens: Tokens | None = None
    reasoning_budget_tokens: Tokens | None = None
    reasoning_max_tokens: Tokens | None = None
    nvext: NvidiaOptions | None = None
    custom_params: CustomParams | None = None
    reasoning_effort: Effort | None = None
    reasoning: ReasoningOptions | None = None
    output_config: OutputConfig | None = None
    thinking: ThinkingOptions | Literal["forced", "free", "off"] | None = None
    think: bool | Effort | None = None
    enable_thinking: bool | None = None
    chat_template_kwargs: TemplateOptions | None = None
    chat_template_args: TemplateOptions | None = None
    include_reasoning: bool | None = None
    separate_reasoning: Literal[True] | None = None
    stream_reasoning: Literal[True] | None = None
    reasoning_control: bool | None = None  # llama.cpp: its control route has to be ordered; here it is always there
    reasoning_format: Literal["auto", "deepseek"] | None = None


# --- the table --------------------------------------------------------------------------------


def _tokens(value: int) -> Iterator[Meaning]:
    if value:  # 0 agrees with thinking off
        yield TOGGLE, ON
    yield BUDGET, value


def _effort(value: str) -> Iterator[Meaning]:
    if value == "none":
        yield TOGGLE, OFF
    else:
        yield TOGGLE, ON
        yield BUDGET, value


def _switch(value: bool) -> Iterator[Meaning]:  # a field's value
    yield TOGGLE, ON if value else OFF


def _think(value: bool | str) -> Iterator[Meaning]:
    return _switch(value) if isinstance(value, bool) else _effort(value)


def _word(value: ThinkingOptions | str) -> Iterator[Meaning]:
    if isinstance(value, str):
        yield TOGGLE, OFF if value == "off" else ON
        yield MODE, value


def _type(value: str) -> Iterator[Meaning]:
    yield TOGGLE, OFF if value == "disabled" else ON


def _shown(value: bool) -> Iterator[Meaning]:
    yield SHOWN, value


def _excluded(value: bool) -> Iterator[Meaning]:
    yield SHOWN, not value


def _display(value: str) -> Iterator[Meaning]:
    yield SHOWN, value != "omitted"


_TEMPLATES = ("chat_template_kwargs", "chat_template_args")
SPELLINGS: dict[str, Callable[[Any], Iterator[Meaning]]] = {
    "max_thinking_tokens": _tokens,  # ours; SGLang's /generate, NIM 1.x
    "thinking_token_budget": _tokens,  # vLLM, TensorRT-LLM 1.3, Dynamo, NIM 2.x
    "thinking_budget": _tokens,  # Qwen's DashScope
    "thinking_budget_tokens": _tokens,  # llama.cpp
    "reasoning_budget_tokens": _tokens,  # llama.cpp
    "reasoning_max_tokens": _tokens,  # FastDeploy
    "nvext.max_thinking_tokens": _tokens,  # NIM 1.x, Dynamo
    "custom_params.thinking_budget": _tokens,  # SGLang
    "reasoning.max_tokens": _tokens,  # OpenRouter
    "thinking.budget_tokens": _tokens,  # Anthropic
    **{f"{name}.thinking_budget": _tokens for name in _TEMPLATES},  # Qwen's template
    "reasoning_effort": _effort,  # OpenAI and everybody
    "reasoning.effort": _effort,  # OpenAI's Responses, OpenRouter, SGLang
    "output_config.effort": _effort,  # Anthropic
    "thinking.effort": _effort,  # TensorRT-LLM, Kimi
    **{f"{name}.reasoning_effort": _effort for name in _TEMPLATES},  # gpt-oss' template
    "think": _think,  # Ollama
    "thinking": _word,  # ours
    "thinking.type": _type,  # Anthropic, TensorRT-LLM, Kimi
    "enable_thinking": _switch,  # Qwen's DashScope
    "reasoning.enabled": _switch,  # OpenRouter, SGLang
    **{
        f"{name}.{key}": _switch for name in _TEMPLATES for key in ("enable_thinking", "thinking")
    },  # Qwen3's, DeepSeek's and Granite's templates
    "include_reasoning": _shown,  # vLLM, OpenRouter
    "reasoning.exclude": _excluded,  # OpenRouter
    "thinking.display": _display,  # Anthropic
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The budget that a request's spellings add up to.

    Attributes:
        options: request fields of the server.
        spelled: request field -> the path that set it.
        is_shown: whether the thought is sent to the caller; it is counted in any case.
    """

    options: dict[str, Any]
    spelled: dict[str, str]
    is_shown: bool


def budget_of(request: BudgetFields) -> Budget:
    """Return the budget of a request. Raises Refusal (400) for two spellings that disagree, naming both."""
    found: dict[str, tuple[Any, str]] = {}
    for path, read in SPELLINGS.items():
        value = _value_at(request, path)
        if value is None:
            continue
        for aspect, meaning in read(value):
            known, first = found.setdefault(aspect, (meaning, path))
            if type(known) is not type(meaning) or known != meaning:
                raise contradiction(first, path, f"both set {aspect}")
    return _joined(found)


def _joined(found: dict[str, tuple[Any, str]]) -> Budget:
    options: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    toggle, switch = found.get(TOGGLE, (None, ""))
    amount, path = found.get(BUDGET, (None, ""))
    if toggle == OFF:
        options["thinking"], spelled["thinking"] = OFF, switch
    elif MODE in found:
        options["thinking"], spelled["thinking"] = found[MODE]
    if amount is not None and toggle != OFF:
        name = "reasoning_effort" if isinstance(amount, str) else "max_thinking_tokens"
        options[name], spelled[name] = amount, path
    return Budget(options=options, spelled=spelled, is_shown=found.get(SHOWN, (True, ""))[0])


def _value_at(request: BaseModel, path: str) -> Any:
    """Return the value at a path of at most two steps; None if it is not set, or of another shape."""
    first, _, second = path.partition(".")
    value = getattr(request, first)
    return getattr(value, second, None) if second else value
