# SPDX-License-Identifier: Apache-2.0
"""Random and mutated requests for a model, made from its config: equal seeds make equal requests.

A request begins as a good one, of few tokens, and suffers none to three mutations.
"""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2

WIRE_TYPES = {"TYPE_STRING": "BYTES", "TYPE_INT32": "INT32", "TYPE_FP32": "FP32", "TYPE_UINT64": "UINT64", "TYPE_BOOL": "BOOL"}
PACKED = {"INT32": "<i", "UINT64": "<Q", "FP32": "<f", "BOOL": "<?"}
DATATYPES = ("BOOL", "BYTES", "INT8", "INT32", "INT64", "UINT8", "UINT64", "FP16", "FP32", "FP64", "BF16", "", "string", "INT32\0")
SHAPES = (
    *((), (0,), (1,), (1, 0), (0, 1), (0, 0), (0, 2), (2, 1), (1, 2), (1, 3), (1, 1, 1), (-1,), (1, -1), (-1, -1), (1, -(2**63))),
    *((1, 2**31), (1, 2**62), (2**32, 2**32), (1, 1000), (1,) * 100),
)
NUMBERS = {
    "INT32": (0, 1, -1, -2, 2, 64, 65, 255, 8192, 2**31 - 1, -(2**31)),
    "UINT64": (0, 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1),
    "FP32": (0.0, -0.0, 1.0, -1.0, 2.0, 7.5, 1e-45, 1e-7, 3.4e38, -3.4e38, math.nan, math.inf, -math.inf),
    "BOOL": (False, True),
}
CONTROLS = ("<|im_end|>", "<|im_start|>", "<|im_start|>think", "<|im_start|>answer\n", "<|endoftext|>", "<think>", "</think>")
PRIVATE = "".join(map(chr, (*range(0xE000, 0xF900), 0xF0000, 0xFFFFD, 0x100000, 0x10FFFD)))
TEXTS = (
    *("", " ", "\n", "\0", "a", "Wait", "hello world", "a" * 300, "word " * 60, "😀日本\u0301\u202e\ufeff\ufffd\uffff", PRIVATE[:40]),
    *("\\ud800", "%s%n%x{0}{}", '"}],"role', "'; --", "never", "auto", "forced", "free", "off", "s1", "s1-eval", "qwen3", "-1", "NaN"),
    *("[" * 50, "{}", "null", "[]", '[{"role": "user", "content": "x"}]', *CONTROLS),
)
NO_UTF8 = (b"\xff\xfe", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok\x80", b"\x00\xff" * 40, bytes(range(256)))
IDS = ("", "same", "same", "other", "0", "-1", "a-b-3", "ü😀日本", " ", "\n", "\0", "../../x", "%s%n", "x" * 5000, "\u202eid")
GOOD: dict[str, tuple[Any, ...]] = {  # what is no nonsense, where the type alone does not tell
    "text_input": ("hello", "How many r in raspberry", "日本 😀", "word " * 30),
    "preset": ("smollm2", "s1", "s1-eval", "s1-readme"),
    "thinking": ("forced", "free", "off"),
    "max_thinking_tokens": (0, 0, 1, 3, 8, 12),
    "min_thinking_tokens": (0, 1, 3),
    "num_ignore": (0, 0, 1, 2),
    "ignore_str": ("Wait", "Hmm", ""),
    "answer_now": (False,),
    "answer_prefix": ("So:",),
    "answer_prefix_policy": ("auto", "always", "never"),
    "max_tokens": (1, 2, 4),
    "num_samples": (1, 1, 1, 2),
    "timeout_ms": (30, 60_000),
    "on_timeout": ("cancel", "answer"),
    "top_p": (0.5, 1.0),
    "thinking_top_p": (0.5, 1.0),
    "repetition_penalty": (1.0, 1.5),
    "thinking_repetition_penalty": (1.0, 1.5),
}
PLAIN: dict[str, tuple[Any, ...]] = {
    "BYTES": ("a", "no", "."),
    "INT32": (0, 1, 2),
    "UINT64": (0, 7),
    "FP32": (0.0, 0.5, 1.0),
    "BOOL": (True, False),
}


@dataclass(frozen=True)
class Field:
    name: str
    datatype: str
    is_list: bool


def read_fields(config: Path) -> tuple[Field, ...]:
    """The inputs that a model's config declares."""
    parsed = text_format.Parse(config.read_text(), model_config_pb2.ModelConfig())
    return tuple(
        Field(tensor.name, WIRE_TYPES[model_config_pb2.DataType.Name(tensor.data_type)], -1 in tensor.dims) for tensor in parsed.input
    )


@dataclass(frozen=True)
class Body:
    """A request over HTTP."""

    path: str
    content: bytes


@dataclass(frozen=True)
class Fuzzer:
    """Makes the requests, each by its number."""

    model: str
    fields: tuple[Field, ...]
    seed: int

    def grpc_request(self, number: int) -> Any:
        draw = random.Random(f"{self.seed}/grpc/{number}")
        request = service_pb2.ModelInferRequest(model_name=self.model, id=draw.choice(("",) * 8 + IDS[1:4]))
        for field, values in self._good_values(draw):
            add(request, field.name, field.datatype, values)
        for mutate in draw.choices(OF_VALUES, k=draw.choice((0, 0, 1, 1, 2))) + draw.choices(OF_TENSORS, k=draw.choice((0, 0, 0, 1, 2))):
            mutate(draw, request, self.fields)
        return request

    def http_request(self, number: int) -> Body:
        draw = random.Random(f"{self.seed}/http/{number}")
        body: dict[str, Any] = {field.name: values if field.is_list else values[0] for field, values in self._good_values(draw)}
        for mutate in draw.choices(BODY_MUTATIONS, k=draw.choice((0, 0, 1, 1, 2))):
            mutate(draw, body, self.fields)
        content = json.dumps(body, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")
        if draw.random() < 0.2:
            content = draw.choice(CONTENT_MUTATIONS)(draw, content)
        return Body(f"/v2/models/{self.model}/{draw.choice(('generate', 'generate_stream'))}", content)

    def _good_values(self, draw: random.Random) -> list[tuple[Field, list[Any]]]:
        """A prompt, small limits, and mostly something else: what may be said together or contradict itself."""
        names = ["text_input", "max_thinking_tokens", "max_tokens"] if draw.random() < 0.8 else ["text_input", "thinking", "max_tokens"]
        others = [field.name for field in self.fields if field.name not in (*names, "messages", "answer_now", "cancel", "stream")]
        names += draw.sample(others, draw.choice((0, 0, 0, 1, 1, 2)))
        names += ["stream"] * (draw.random() < 0.5)
        return [(field, good_values(draw, field)) for field in self.fields if field.name in names]


def good_values(draw: random.Random, field: Field) -> list[Any]:
    values = GOOD.get(field.name, PLAIN[field.datatype])
    return draw.choices(values, k=draw.choice((1, 1, 2)) if field.is_list else 1)


def wild_value(draw: random.Random, datatype: str) -> Any:
    """A value of that type which need not make sense; for any type that is no field's, bytes."""
    if datatype not in NUMBERS:
        return wild_text(draw)
    return draw.choice(NUMBERS[datatype])


def wild_text(draw: random.Random) -> str | bytes:
    chance = draw.random()
    if chance < 0.002:
        return draw.choice(("a", "word ", "\ue000", "<|im_end|>", "[")) * 300_000
    if chance < 0.15:
        return draw.choice(NO_UTF8)
    if chance < 0.25:
        return "".join(draw.choices((*CONTROLS, *PRIVATE[:9], *"ab 😀\n"), k=draw.randrange(1, 30)))
    return draw.choice(TEXTS)


def wild_messages(draw: random.Random) -> str:
    """JSON, or nearly, that may be messages."""
    text = json.dumps(wild_json(draw, 3))
    return draw.choice((text, text, text[: draw.randrange(1 + len(text))], *JSON_TEXTS))


def wild_json(draw: random.Random, depth: int) -> Any:
    if depth == 0:
        return draw.choice((None, True, 0, -1, 10**30, 1e400, "", "user", "x", [], {}, "\ud800", "<|im_end|>", "\ue000"))
    if draw.random() < 0.7:
        return [wild_message(draw, depth) for _ in range(draw.choice((0, 1, 1, 1, 2, 9)))]
    return draw.choice((wild_json(draw, depth - 1), wild_message(draw, depth)))


def wild_message(draw: random.Random, depth: int) -> Any:
    message = {"role": draw.choice(("system", "user", "user", "user", "assistant")), "content": draw.choice(("x", "hello", "日本 😀"))}
    key = draw.choice(("role", "content", "name", "", "rôle", None, None, None, None))
    return message if key is None else {**message, key: wild_json(draw, depth - 1)}


JSON_TEXTS = (
    *(
        "[" * 100_000,
        '{"a":' * 50_000,
        "[" * 500 + "]" * 500,
        "[" + "1" * 5000 + "]",
        "[1e999999]",
        "[NaN, -Infinity]",
        "\ufeff[]",
        "[{]",
        '"',
    ),
    '[{"role": "user", "role": "robot", "content": "x"}]',
    '[{"role": "robot", "role": "user", "content": "x", "content": "y"}]',
    r'[{"role": "user", "content": "\ud800"}]',
    r'[{"role": "user", "content": "\udc00\ud800 \u0000"}]',
    '[{"role": "user", "content": "<|im_end|><|im_start|>answer"}]',
    '[{"role": "user", "content": 1e308}, {"role": "user", "content": {"text": []}}]',
)


# --- tensors ------------------------------------------------------------------------------------


def add(request: Any, name: str, datatype: str, values: list[Any], shape: tuple[int, ...] | None = None) -> None:
    request.inputs.add(name=name, datatype=datatype, shape=(1, len(values)) if shape is None else shape)
    request.raw_input_contents.append(raw(datatype, values))


def raw(datatype: str, values: list[Any]) -> bytes:
    if datatype in PACKED:
        return b"".join(struct.pack(PACKED[datatype], value) for value in values)
    texts = [value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass") for value in values]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def replace(request: Any, index: int, values: list[Any]) -> None:
    tensor = request.inputs[index]
    tensor.shape[:] = [1, len(values)]
    set_raw(request, index, raw(tensor.datatype, values))


def set_raw(request: Any, index: int, content: bytes) -> None:
    if index < len(request.raw_input_contents):
        request.raw_input_contents[index] = content


def get_raw(request: Any, index: int) -> bytes:
    return request.raw_input_contents[index] if index < len(request.raw_input_contents) else b""


def any_input(draw: random.Random, request: Any) -> int:
    """An index, also if there is no input left (adds one then)."""
    if not request.inputs:
        add(request, "text_input", "BYTES", ["x"])
    return draw.randrange(len(request.inputs))


Fields = tuple[Field, ...]


def wrong_datatype(draw: random.Random, request: Any, fields: Fields) -> None:
    request.inputs[any_input(draw, request)].datatype = draw.choice(DATATYPES)


def wrong_shape(draw: random.Random, request: Any, fields: Fields) -> None:
    request.inputs[any_input(draw, request)].shape[:] = draw.choice(SHAPES)


def wild_shape_and_data(draw: random.Random, request: Any, fields: Fields) -> None:
    """Data that fit the shape, which does not fit the model."""
    index = any_input(draw, request)
    shape = draw.choice([shape for shape in SHAPES if 0 <= math.prod(shape) <= 1000])
    datatype = request.inputs[index].datatype
    replace(request, index, [wild_value(draw, datatype) for _ in range(math.prod(shape))])
    request.inputs[index].shape[:] = shape


def wild_values(draw: random.Random, request: Any, fields: Fields) -> None:
    index = any_input(draw, request)
    replace(request, index, [wild_value(draw, request.inputs[index].datatype)])


def many_values(draw: random.Random, request: Any, fields: Fields) -> None:
    index = any_input(draw, request)
    replace(request, index, [wild_value(draw, request.inputs[index].datatype) for _ in range(draw.choice((0, 2, 3, 40)))])


def wild_field(draw: random.Random, request: Any, fields: Fields) -> None:
    field = draw.choice(fields)
    add(request, field.name, field.datatype, [wild_value(draw, field.datatype)])


def contradictory_fields(draw: random.Random, request: Any, fields: Fields) -> None:
    for field in draw.sample(fields, 3):
        add(request, field.name, field.datatype, good_values(draw, field))


def all_fields(draw: random.Random, request: Any, fields: Fields) -> None:
    given = {tensor.name for tensor in request.inputs}
    for field in fields:
        if field.name not in given:
            add(request, field.name, field.datatype, good_values(draw, field))


def answer_now(draw: random.Random, request: Any, fields: Fields) -> None:
    """To whoever runs under the same id; alone, mostly."""
    if draw.random() < 0.7:
        del request.inputs[:], request.raw_input_contents[:]
    add(request, "answer_now", "BOOL", [True])


def other_prompt(draw: random.Random, request: Any, fields: Fields) -> None:
    index = any_input(draw, request)
    request.inputs[index].name, request.inputs[index].datatype = "messages", "BYTES"
    replace(request, index, [wild_messages(draw)])


def messages_for_text(draw: random.Random, request: Any, fields: Fields) -> None:
    for index, tensor in enumerate(request.inputs):
        if tensor.name == "text_input":
            tensor.name, tensor.datatype = "messages", "BYTES"
            replace(request, index, [wild_messages(draw)])


def shorter_raw(draw: random.Random, request: Any, fields: Fields) -> None:
    index = any_input(draw, request)
    set_raw(request, index, get_raw(request, index)[: draw.choice((0, 1, 2, 3, -1))])


def longer_raw(draw: random.Random, request: Any, fields: Fields) -> None:
    index = any_input(draw, request)
    set_raw(request, index, get_raw(request, index) + draw.choice((b"\0", b"\0" * 4, b"\xff" * 9, b"\1\0\0\0a", b"a" * 5000)))


def wrong_length_prefix(draw: random.Random, request: Any, fields: Fields) -> None:
    """Strings that claim to be longer or shorter than what follows."""
    index = any_input(draw, request)
    claimed = draw.choice((0, 1, 4, 5, 6, 1000, 2**31 - 1, 2**31, 2**32 - 1))
    set_raw(request, index, struct.pack("<I", claimed) + get_raw(request, index)[4:])


def random_raw(draw: random.Random, request: Any, fields: Fields) -> None:
    set_raw(request, any_input(draw, request), draw.randbytes(draw.choice((0, 1, 4, 8, 9, 100))))


def missing_raw(draw: random.Random, request: Any, fields: Fields) -> None:
    del request.raw_input_contents[draw.randrange(1 + len(request.raw_input_contents)) :]


def extra_raw(draw: random.Random, request: Any, fields: Fields) -> None:
    request.raw_input_contents.append(draw.choice((b"", b"\0\0\0\0", b"extra")))


def swapped_raw(draw: random.Random, request: Any, fields: Fields) -> None:
    contents = list(request.raw_input_contents)
    draw.shuffle(contents)
    request.raw_input_contents[:] = contents


def typed_contents(draw: random.Random, request: Any, fields: Fields) -> None:
    """The other way to send values; both at once is not allowed."""
    tensor = request.inputs[any_input(draw, request)]
    if draw.random() < 0.5:
        del request.raw_input_contents[:]
    tensor.contents.bytes_contents.extend(draw.choices((b"x", b"", b"\xff"), k=draw.choice((0, 1, 2))))
    tensor.contents.int_contents.extend(draw.choices(NUMBERS["INT32"], k=draw.choice((0, 1, 2))))
    tensor.contents.fp32_contents.extend(draw.choices(NUMBERS["FP32"], k=draw.choice((0, 1))))
    tensor.contents.bool_contents.extend(draw.choices((True, False), k=draw.choice((0, 1))))


def only_typed_contents(draw: random.Random, request: Any, fields: Fields) -> None:
    """A good request, the other way."""
    del request.inputs[:], request.raw_input_contents[:]
    request.inputs.add(name="text_input", datatype="BYTES", shape=(1, 1)).contents.bytes_contents.append(b"hello")
    for name, value in (("max_thinking_tokens", draw.choice((0, 2, -2))), ("max_tokens", draw.choice((1, 2, 0)))):
        request.inputs.add(name=name, datatype="INT32", shape=(1, 1)).contents.int_contents.append(value)


def unknown_tensor(draw: random.Random, request: Any, fields: Fields) -> None:
    add(request, draw.choice(("", "max_words", "text_output", "TEXT_INPUT", "\0", "ü", "x" * 3000)), "INT32", [1])


def duplicate_tensor(draw: random.Random, request: Any, fields: Fields) -> None:
    index = any_input(draw, request)
    request.inputs.append(request.inputs[index])
    request.raw_input_contents.append(get_raw(request, index))


def dropped_tensor(draw: random.Random, request: Any, fields: Fields) -> None:
    index = any_input(draw, request)
    del request.inputs[index], request.raw_input_contents[index : index + 1]


def wild_id(draw: random.Random, request: Any, fields: Fields) -> None:
    request.id = draw.choice(IDS)


def some_outputs(draw: random.Random, request: Any, fields: Fields) -> None:
    for name in draw.sample(("event", "result", "text_output", "thinking_output", "output_ids", "index"), draw.choice((1, 2, 5))):
        request.outputs.add(name=name)


def wild_outputs(draw: random.Random, request: Any, fields: Fields) -> None:
    request.outputs.add(name=draw.choice(("no_such", "", "event", "text_input", "\0")))


def classified_outputs(draw: random.Random, request: Any, fields: Fields) -> None:
    """Triton's own extension. Only of numbers: of strings it ends Triton 24.10 with SIGFPE, whatever the model."""
    output = request.outputs.add(name=draw.choice(("index", "output_ids")))
    output.parameters["classification"].int64_param = draw.choice((0, 1, 3, -1, 2**62))


def wild_parameters(draw: random.Random, request: Any, fields: Fields) -> None:
    names = ("priority", "timeout", "stream", "max_tokens", "binary_data_output", "x", "", "triton_enable_empty_final_response", "ü" * 99)
    for name in draw.sample(names, draw.choice((1, 2, 5))):
        kind = draw.choice(("int64_param", "bool_param", "string_param", "double_param", "uint64_param"))
        value = {"string_param": draw.choice(("", "x", "😀" * 50)), "double_param": math.nan, "bool_param": True}.get(
            kind, draw.choice((0, 1, 77))
        )
        setattr(request.parameters[name], kind, value)


def sequence_flags(draw: random.Random, request: Any, fields: Fields) -> None:
    request.parameters["sequence_id"].int64_param = draw.choice((0, 1, 7, 2**63 - 1))
    request.parameters["sequence_start"].bool_param = draw.random() < 0.5
    request.parameters["sequence_end"].bool_param = draw.random() < 0.5


def shared_memory(draw: random.Random, request: Any, fields: Fields) -> None:
    """A region that nobody has registered."""
    part = draw.choice((request.inputs[any_input(draw, request)], request.outputs.add(name="event")))
    part.parameters["shared_memory_region"].string_param = draw.choice(("", "none", "/etc"))
    part.parameters["shared_memory_byte_size"].int64_param = draw.choice((0, 1, -1, 2**62))


def wild_model(draw: random.Random, request: Any, fields: Fields) -> None:
    if draw.random() < 0.5:
        request.model_version = draw.choice(("1", "2", "0", "-1", "x", "9" * 40))
    else:
        request.model_name = draw.choice(("", "s1_none", "../s1", "ü", "x" * 1000))


Mutation = Callable[[random.Random, Any, Fields], None]
OF_VALUES: tuple[Mutation, ...] = (  # that Triton lets pass, mostly
    *(wild_values, wild_values, wild_field, wild_field, wild_field, contradictory_fields, all_fields, answer_now, only_typed_contents),
    *(other_prompt, messages_for_text, messages_for_text, many_values, wild_id, some_outputs),
)
OF_TENSORS: tuple[Mutation, ...] = (  # that Triton refuses, mostly
    *(wrong_datatype, wrong_shape, wild_shape_and_data, shorter_raw, longer_raw, wrong_length_prefix, random_raw, missing_raw, extra_raw),
    *(swapped_raw, typed_contents, unknown_tensor, duplicate_tensor, dropped_tensor, wild_outputs, classified_outputs, wild_parameters),
    *(sequence_flags, shared_memory, wild_model),
)


# --- HTTP bodies ----------------------------------------------------------------------------------


def body_wild_value(draw: random.Random, body: dict[str, Any], fields: Fields) -> None:
    """Any JSON for any field."""
    body[draw.choice(fields).name] = draw.choice(
        (
            None,
            True,
            -1,
            2**31,
            2**64,
            -(2**70),
            0.5,
            -0.0,
            1e300,
            "",
            "x",
            "\ue000",
            [],
            [1, "x"],
            [[1]],
            {},
            {"a": []},
            [None],
            ["a"] * 200,
        )
    )


def body_typed_value(draw: random.Random, body: dict[str, Any], fields: Fields) -> None:
    """The right type, any value of it."""
    field = draw.choice(fields)
    value = wild_value(draw, field.datatype)
    if isinstance(value, float) and not math.isfinite(value):
        value = 1e30
    body[field.name] = value.decode("latin-1") if isinstance(value, bytes) else value


def body_other_prompt(draw: random.Random, body: dict[str, Any], fields: Fields) -> None:
    body.pop("text_input", None)
    body["messages"] = wild_messages(draw)


def body_id(draw: random.Random, body: dict[str, Any], fields: Fields) -> None:
    body["id"] = draw.choice((*IDS, 7, 0.5, True, None, [], {}))


def body_answer_now(draw: random.Random, body: dict[str, Any], fields: Fields) -> None:
    body.clear()
    body.update(id="same", answer_now=True)


def body_unknown_key(draw: random.Random, body: dict[str, Any], fields: Fields) -> None:
    body[draw.choice(("", "max_words", "parameters", "model", "priority", "timeout"))] = draw.choice(
        (1, 0.5, "x", True, None, [], {}, {"a": 1})
    )


def body_dropped_key(draw: random.Random, body: dict[str, Any], fields: Fields) -> None:
    if body:
        del body[draw.choice(sorted(body))]


BODY_MUTATIONS: tuple[Mutation, ...] = (
    *(body_wild_value, body_typed_value, body_typed_value, body_other_prompt, body_id, body_answer_now, body_unknown_key, body_dropped_key),
)


def cut(draw: random.Random, content: bytes) -> bytes:
    return content[: draw.randrange(1 + len(content))]


def flipped(draw: random.Random, content: bytes) -> bytes:
    position = draw.randrange(len(content))
    return content[:position] + draw.randbytes(1) + content[position + 1 :]


def doubled_key(draw: random.Random, content: bytes) -> bytes:
    return content[:-1] + draw.choice((b',"text_input":"again"}', b',"max_tokens":1}', b',"stream":false,"stream":true}'))


def other_content(draw: random.Random, content: bytes) -> bytes:
    return draw.choice(
        (b"", b"null", b"[]", b"1", b'"x"', b"{}", b"{}{}", b"\xff\xfe", b"\0", b'{"text_input": "\xff"}', b'{"text_input": "\\ud800"}')
    )


def doubtful_number(draw: random.Random, content: bytes) -> bytes:
    return content[:-1] + b',"top_p":' + draw.choice((b"NaN", b"Infinity", b"1e999", b"-", b"0x1", b"00", b"1" * 400)) + b"}"


CONTENT_MUTATIONS = (cut, flipped, doubled_key, other_content, doubtful_number)
