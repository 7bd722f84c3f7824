# SPDX-License-Identifier: Apache-2.0
"""Calls of a gateway by openai-python, in its own environment. Prints a JSON object: scenario -> what the program saw.

python openai_program.py http://127.0.0.1:8080/v1
"""

import asyncio
import json
import sys

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

URL = sys.argv[1]
client = openai.OpenAI(base_url=URL, api_key="none", max_retries=2)
EVENTS = TypeAdapter(ResponseStreamEvent)


def chat(question, **fields):
    return client.chat.completions.create(model="s1", messages=[{"role": "user", "content": question}], **fields)


def overloaded_once():
    """It must be the first: the server refuses the first request."""
    return chat("hi").choices[0].message.content


def error_of(question, **fields):
    try:
        chat(question, **fields)
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.param, error.code, error.type]
    except openai.APIError as error:
        return [type(error).__name__, None, error.param, error.code, error.type]


def errors():
    return {
        "refused": error_of("hi", extra_body={"num_ignor": 1}),
        "failed": error_of("engine failed"),
        "overloaded": error_of("overloaded"),
        "late": error_of("late"),
    }


def whole():
    reply = chat("hi", reasoning_effort="low", extra_body={"num_ignore": 2})
    ChatCompletion.model_validate(reply.model_dump(), strict=False)
    return [reply.choices[0].message.reasoning_content, reply.choices[0].message.content, reply.usage.completion_tokens]


def streamed():
    thought, answer, usage = "", "", None
    for chunk in chat("hi", stream=True, stream_options={"include_usage": True}, extra_body={"num_ignore": 2}):
        ChatCompletionChunk.model_validate(chunk.model_dump(), strict=False)
        for choice in chunk.choices:
            thought += getattr(choice.delta, "reasoning_content", "")
            answer += choice.delta.content or ""
        usage = chunk.usage or usage
    return [thought, answer, usage.completion_tokens]


def failed_stream():
    seen = ""
    try:
        for chunk in chat("breaks", stream=True):
            seen += getattr(chunk.choices[0].delta, "reasoning_content", "")
    except openai.APIError as error:
        return [seen, type(error).__name__, error.code]


async def in_asyncio():
    async with openai.AsyncOpenAI(base_url=URL, api_key="none") as other:
        stream = await other.chat.completions.create(model="s1", messages=[{"role": "user", "content": "hi"}], stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


def responses(**fields):
    whole = client.responses.create(model="s1", input="hi", **fields)
    Response.model_validate(whole.model_dump(), strict=False)
    events = list(client.responses.create(model="s1", input="hi", stream=True, **fields))
    for event in events:
        EVENTS.validate_python(event.model_dump(warnings=False))
    turns = [*(item.model_dump(exclude_none=True) for item in whole.output), {"role": "user", "content": "again"}]
    again = client.responses.create(model="s1", input=turns)
    kinds = list(dict.fromkeys(event.type for event in events))
    return {"text": whole.output_text, "kinds": kinds, "streamed": events[-1].response.output_text, "again": again.status}


def timed_out():
    impatient = client.with_options(timeout=0.4, max_retries=1)
    try:
        impatient.chat.completions.create(model="s1", messages=[{"role": "user", "content": "endless"}])
    except openai.APITimeoutError as error:
        return type(error).__name__


def completion():
    reply = client.completions.create(model="s1", prompt="hi")
    streamed = client.completions.create(model="s1", prompt="hi", stream=True)
    return [reply.choices[0].text, "".join(chunk.choices[0].text for chunk in streamed)]


print(
    json.dumps(
        {
            "overloaded_once": overloaded_once(),
            "errors": errors(),
            "whole": whole(),
            "streamed": streamed(),
            "failed_stream": failed_stream(),
            "in_asyncio": asyncio.run(in_asyncio()),
            "responses": responses(),
            "summary": responses(reasoning={"summary": "auto"}),
            "completion": completion(),
            "models": [model.id for model in client.models.list()],
            "timed_out": timed_out(),
        }
    )
)
