# SPDX-License-Identifier: Apache-2.0
"""The messages of engine calls are Triton's, as tritonclient has them; and a server needs neither tritonclient nor grpcio."""

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata

import pytest
from google.protobuf import descriptor
from packaging.requirements import Requirement
from tritonclient.grpc import service_pb2

from budgetforce.engine import kserve

NESTED = {
    "InferInputTensor": service_pb2.ModelInferRequest.InferInputTensor,
    "InferRequestedOutputTensor": service_pb2.ModelInferRequest.InferRequestedOutputTensor,
    "InferOutputTensor": service_pb2.ModelInferResponse.InferOutputTensor,
}


@pytest.mark.parametrize("name", kserve._MESSAGES)
def test_names_numbers_and_types_are_tritonclients(name):
    theirs = (NESTED.get(name) or getattr(service_pb2, name)).DESCRIPTOR.fields_by_name
    for field in kserve._POOL.FindMessageTypeByName(f"inference.{name}").fields:
        other = theirs[field.name]
        assert (field.number, is_repeated(field)) == (other.number, is_repeated(other))
        if (name, field.name) != ("ModelInferResponse", "outputs"):  # a message that is left as bytes
            assert field.type == other.type
            assert (field.message_type and field.message_type.name) == (other.message_type and other.message_type.name)


def is_repeated(field: descriptor.FieldDescriptor) -> bool:
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED


def test_tritonclient_reads_our_requests_and_we_read_its_responses():
    request = kserve.ModelInferRequest(model_name="e", id="7", raw_input_contents=[b"\1\0\0\0"])
    request.inputs.add(name="input_ids", datatype="INT32", shape=(1, 1 << 40))
    request.outputs.add(name="output_ids")
    theirs = service_pb2.ModelInferRequest.FromString(request.SerializeToString())
    assert (theirs.model_name, theirs.id, list(theirs.raw_input_contents)) == ("e", "7", [b"\1\0\0\0"])
    assert (theirs.inputs[0].name, theirs.inputs[0].datatype, list(theirs.inputs[0].shape)) == ("input_ids", "INT32", [1, 1 << 40])
    assert [output.name for output in theirs.outputs] == ["output_ids"]
    answer = service_pb2.ModelStreamInferResponse(error_message="no")
    answer.infer_response.outputs.add(name="output_ids", datatype="INT32", shape=[1])
    answer.infer_response.raw_output_contents.append(b"\2\0\0\0")
    answer.infer_response.parameters["triton_final_response"].bool_param = True
    ours = kserve.ModelStreamInferResponse.FromString(answer.SerializeToString())
    assert (ours.error_message, kserve.output_names(tuple(ours.infer_response.outputs))) == ("no", ("output_ids",))
    assert list(ours.infer_response.raw_output_contents) == [b"\2\0\0\0"]


# What images have or may have; tritonclient 2.67 to 2.71 want grpcio < 1.68, 2.73 wants >= 1.81.1, and all of them protobuf 6.
IMAGES = [("5.29.5", "1.67.1"), ("6.31.1", "1.80.0"), ("6.33.1", "1.81.0"), ("7.34.0", "1.82.0")]


@pytest.mark.parametrize(("protobuf", "grpcio"), IMAGES)
def test_the_server_takes_whatever_protobuf_and_grpcio_an_image_has(root, protobuf, grpcio):
    """The image's build installs what this package needs, with the image's own versions as constraints."""
    project = tomllib.loads((root / "python_backend/pyproject.toml").read_text())["project"]
    requirements = list(all_of([Requirement(line) for line in project["dependencies"]], set()))
    versions = {"protobuf": protobuf, "grpcio": grpcio}
    assert not [str(one) for one in requirements if one.name in versions and not one.specifier.contains(versions[one.name])]
    names = {one.name for one in requirements}
    assert {"protobuf", "transformers"} <= names
    assert not {"tritonclient", "grpcio"} & names


def all_of(requirements: list[Requirement], seen: set[str]) -> Iterator[Requirement]:
    """Return these requirements and those that they require in turn, by the metadata of the installed packages."""
    for one in requirements:
        name = re.sub(r"[-_.]+", "-", one.name).lower()
        if one.marker is not None and not any(one.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)):
            continue
        yield one
        if name not in seen:
            seen.add(name)
            yield from all_of([Requirement(line) for line in metadata.requires(name) or () if "extra ==" not in line], seen)


def test_the_image_is_built_with_its_own_versions_as_constraints(root):
    text = (root / "build/Dockerfile").read_text()
    assert "pip list --format=freeze > /tmp/image.txt" in text
    assert "--constraint /tmp/image.txt --requirement /tmp/needed.txt" in text
