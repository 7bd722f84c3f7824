# SPDX-License-Identifier: Apache-2.0
"""Calls of a gateway by litellm, LangChain and openai-agents, unchanged. Prints a JSON object: scenario -> what the tool showed.

python tools_program.py http://127.0.0.1:8080/v1
"""

import asyncio
import json
import os
import sys

os.environ.update(LITELLM_OFFLINE_MODE="true", OPENAI_AGENTS_DISABLE_TRACING="1", LANGSMITH_TRACING="false")

import litellm
from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner
from langchain_core.exceptions import ContextOverflowError
from langchain_deepseek import ChatDeepSeek
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI

URL = sys.argv[1]
QUESTION = "which tools"
litellm.suppress_debug_info = True  # else it prints advice beside the result


def litellm_chat(provider, **fields):
    where = {"model": f"{provider}/s1", "api_base": URL, "api_key": "none", "messages": [{"role": "user", "content": QUESTION}]}
    whole = litellm.completion(**where, **fields)
    deltas = [chunk.choices[0].delta for chunk in litellm.completion(**where, stream=True, **fields)]
    message = whole.choices[0].message
    streamed = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    return {
        "thought": message.reasoning_content,
        "streamed": streamed,
        "answer": message.content,
        "reasoning": whole.usage.completion_tokens_details.reasoning_tokens,
    }


def is_too_long(kind, call, **fields):
    """Whether a call ends with the tool's own error by which programs know that a history must become shorter."""
    try:
        call(**fields)
    except kind:
        return True
    return False


def too_long():
    fields = {"model": "openai/s1", "api_base": URL, "api_key": "none", "messages": [{"role": "user", "content": "too long"}]}
    model = ChatOpenAI(model="s1", base_url=URL, api_key="none")
    return [
        is_too_long(litellm.ContextWindowExceededError, litellm.completion, **fields),
        is_too_long(ContextOverflowError, model.invoke, input="too long"),
    ]


def langchain_responses():
    model = ChatOpenAI(model="s1", base_url=URL, api_key="none", use_responses_api=True, reasoning={"summary": "auto"})
    reply = model.invoke(QUESTION)
    (thought,) = [block["reasoning"] for block in reply.content_blocks if block["type"] == "reasoning"]
    chunks = [block for chunk in model.stream(QUESTION) for block in chunk.content_blocks if block["type"] == "reasoning"]
    return {"thought": thought, "streamed": "".join(block.get("reasoning", "") for block in chunks), "answer": reply.text}


def langchain_chat():
    """Its authors drop every thought of the chat API on purpose."""
    reply = ChatOpenAI(model="s1", base_url=URL, api_key="none").invoke(QUESTION)
    return {"answer": reply.text, "reasoning": reply.usage_metadata["output_token_details"]["reasoning"]}


def langchain_deepseek():
    model = ChatDeepSeek(model="s1", api_base=URL, api_key="none", extra_body={"num_ignore": 2})
    reply = model.invoke(QUESTION)
    streamed = "".join(chunk.additional_kwargs.get("reasoning_content", "") for chunk in model.stream(QUESTION))
    return {"thought": reply.additional_kwargs["reasoning_content"], "streamed": streamed, "answer": reply.text}


async def agents(model):
    """The deltas of the thought that an agent passes on, by their kind."""
    result = Runner.run_streamed(Agent(name="s1", instructions="Be brief.", model=model), QUESTION)
    thoughts = {}
    async for event in result.stream_events():
        kind = getattr(getattr(event, "data", None), "type", "")
        if kind.startswith("response.reasoning") and kind.endswith(".delta"):
            thoughts[kind] = thoughts.get(kind, "") + event.data.delta
    return {"thoughts": list(thoughts.values()), "answer": result.final_output}


async def all_agents():
    client = AsyncOpenAI(base_url=URL, api_key="none")
    return {
        "agents_chat": await agents(OpenAIChatCompletionsModel("s1", client)),
        "agents_responses": await agents(OpenAIResponsesModel("s1", client)),
    }


print(
    json.dumps(
        {
            "litellm_openai": litellm_chat("openai", extra_body={"num_ignore": 2, "thinking_token_budget": 100}),
            "litellm_vllm": litellm_chat("hosted_vllm", num_ignore=2, thinking_token_budget=100),
            "langchain_responses": langchain_responses(),
            "langchain_chat": langchain_chat(),
            "langchain_deepseek": langchain_deepseek(),
            "too_long": too_long(),
            **asyncio.run(all_agents()),
        }
    )
)
