# SPDX-License-Identifier: Apache-2.0
"""The subset of Triton's gRPC messages that engine calls need, defined by descriptors at import.

They do not come from tritonclient: each of its releases requires particular versions of grpcio and protobuf, and the
server's image has versions of its own that must stay. Generated code would depend on a version of protobuf as well;
descriptors do not (tested with protobuf 4.25, 5, 6 and 7). They have a separate pool, so tritonclient can be imported too.

Source of names and numbers: triton-inference-server/common, protobuf/grpc_service.proto r24.10; tests/engine/test_kserve.py
compares them with tritonclient's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool

_PACKAGE = "inference"
# By message: number and type of each field; * = repeated.
_MESSAGES = {
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {"version": (2, "string")},
    "ModelReadyRequest": {"name": (1, "string")},
    "ModelReadyResponse": {"ready": (1, "bool")},
    "InferInputTensor": {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "int64*")},
    "InferRequestedOutputTensor": {"name": (1, "string")},
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "id": (3, "string"),
        "inputs": (5, "InferInputTensor*"),
        "outputs": (6, "InferRequestedOutputTensor*"),
        "raw_input_contents": (7, "bytes*"),
    },
    "InferOutputTensor": {"name": (1, "string")},
    # Every id comes with the same few descriptions of its tensors: they stay bytes, see ``output_names``.
    "ModelInferResponse": {"outputs": (5, "bytes*"), "raw_output_contents": (6, "bytes*")},
    "ModelStreamInferResponse": {"error_message": (1, "string"), "infer_response": (2, "ModelInferResponse")},
}
_SCALARS = {name: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{name.upper()}") for name in ("string", "bytes", "bool", "int64")}


def _pool() -> DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="budgetforce/engine/kserve.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            _describe(described.field.add(name=name, number=number), kind)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _describe(field: Any, kind: str) -> None:
    element = kind.removesuffix("*")
    field.label = field.LABEL_OPTIONAL if element == kind else field.LABEL_REPEATED
    if element in _SCALARS:
        field.type = _SCALARS[element]
    else:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{element}"


_POOL = _pool()


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


ServerMetadataRequest = _message("ServerMetadataRequest")
ServerMetadataResponse = _message("ServerMetadataResponse")
ModelReadyRequest = _message("ModelReadyRequest")
ModelReadyResponse = _message("ModelReadyResponse")
ModelInferRequest = _message("ModelInferRequest")
ModelStreamInferResponse = _message("ModelStreamInferResponse")

_InferOutputTensor = _message("InferOutputTensor")


@lru_cache(maxsize=256)
def output_names(descriptions: tuple[bytes, ...]) -> tuple[str, ...]:
    """Return the names of a response's tensors, from its ``outputs``."""
    return tuple(_InferOutputTensor.FromString(description).name for description in descriptions)


# By dtype, whose name numpy would put together each time.
DATATYPES = {
    np.dtype(name): datatype for name, datatype in {"int32": "INT32", "uint64": "UINT64", "float32": "FP32", "bool": "BOOL"}.items()
}
