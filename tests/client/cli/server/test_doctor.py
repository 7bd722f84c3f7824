# SPDX-License-Identifier: Apache-2.0
"""The doctor: a line for each check, fixes for faults, and an exit code. (With the real server: tests/server.)"""

import json
from dataclasses import replace

import grpc
import pytest
from click.testing import CliRunner

from client.events import RESULT
from s1_client import AnswerOpened, EngineFailed, Reply, Round, S1Error, TrainingRecord
from s1_client.cli.app import s1
from s1_client.cli.server import checks, probe
from s1_client.testing import FakeServer

ROUND = Round(
    phase="answer", num_prompt_tokens=225, num_sampled_tokens=5, num_dropped_tokens=0, ended_by="terminator", terminator_id=151645,
    refused_for=None, injected_ids=[], num_engine_calls=1, num_outages=0, kv_reused_blocks=6, gap_ms=0.0, first_token_ms=1.0, engine_ms=2.0,
)  # fmt: skip


@pytest.fixture
def server():
    with FakeServer() as server:
        yield server


def findings(*arguments):
    done = CliRunner().invoke(s1, ["doctor", "--json", *arguments])
    return {found["check"]: found for found in map(json.loads, done.output.splitlines())}, done.exit_code


def made(**changes):
    """Return a reply of one round with a changed ledger, trace or parameters."""
    changed = {name: changes.pop(name) for name in list(changes) if name in Round.__dataclass_fields__}
    usage = replace(RESULT.usage, num_thinking_sampled=2, num_answer_tokens=1, num_terminators=2, num_dropped=0)
    effective = {"preset": "s1", "max_context_tokens": 32768, **changes}
    return Reply(thinking="", answer="", result=replace(RESULT, usage=usage, rounds=(replace(ROUND, **changed),), effective=effective))


def test_a_healthy_server_has_no_fault(server):
    found, code = findings("--url", server.url)
    assert code == 0
    assert {one["state"] for one in found.values()} <= {"ok", "note", "skipped"}
    assert {"server", "version", "model", "fields", "reply", "ledger", "tokenizer", "KV reuse", "context"} <= set(found)


def test_plain_output_is_a_line_for_each_finding_and_a_line_for_its_fix(server):
    done = CliRunner().invoke(s1, ["doctor", "--url", server.url, "--model", "s9"])
    assert done.exit_code == 1
    assert done.output.splitlines()[0] == f"ok      server         answers at {server.url}, without TLS"
    assert done.output.splitlines()[-2:] == [
        "wrong   model          's9' is not ready: the server has no model of that name",
        f"{'':23}-> run s1 models; read the server's log",
    ]


@pytest.mark.parametrize(("url", "fix"), [("127.0.0.1:1", "start a server"), ("grpcs://{}", "{} is a gRPC port without TLS")])
def test_an_unreachable_server_ends_the_checks(server, url, fix):
    found, code = findings("--url", url.format(server.url))
    assert (list(found), code) == (["server"], 1)
    assert found["server"]["fix"].startswith(fix.format(server.url))


def test_a_failed_reply_names_its_request_id(server):
    server.says(error=EngineFailed("out of blocks"))
    found, code = findings("--url", server.url)
    assert (found["reply"]["text"], code) == ("EngineFailed: out of blocks", 1)
    assert server.requests[-1].id in found["reply"]["fix"]


def test_a_refused_secret_is_a_single_finding():
    """Triton answers health requests without a secret."""

    class Guard(grpc.ServerInterceptor):
        def intercept_service(self, continuation, details):
            if details.method.endswith(("ServerLive", "ServerMetadata", "ModelReady", "ServerReady")):
                return continuation(details)
            reason = "This protocol is restricted, expecting header 'triton-grpc-protocol-s1-secret'"
            return grpc.unary_unary_rpc_method_handler(lambda _, context: context.abort(grpc.StatusCode.UNAVAILABLE, reason))

    with FakeServer(interceptors=[Guard()]) as server:
        found, code = findings("--url", server.url)
    assert ([check for check, one in found.items() if one["state"] == "wrong"], code) == (["protocol"], 1)
    assert "wants a secret, and none was sent" in found["protocol"]["text"]
    assert list(found)[-1] == "protocol"


@pytest.mark.parametrize(
    ("check", "reply", "state"),
    [
        (probe.kv_reuse, made(kv_reused_blocks=6), "ok"),
        (probe.kv_reuse, made(kv_reused_blocks=None), "note"),
        (probe.kv_reuse, made(kv_reused_blocks=0), "wrong"),
        (probe.kv_reuse, made(kv_reused_blocks=0, engine_model="embedded_llm"), "note"),
        (probe.ledger, made(), "ok"),
        (probe.ledger, made(num_sampled_tokens=4), "wrong"),
        (probe.context, made(), "ok"),
        (probe.context, made(max_context_tokens=8192), "note"),
        (probe.context, made(max_context_tokens=8192, preset="smollm2"), "ok"),
        (probe.context, made(max_context_tokens=2048, engine_model="embedded_llm"), "ok"),
    ],
)
def test_findings_from_a_reply(check, reply, state):
    assert check(reply).state == state


@pytest.mark.parametrize(
    ("reply", "marker", "state"),
    [
        (made(), (151644, 9217), "ok"),
        (made(), (198, 151644, 9217, 198), "ok"),
        (made(), (1, 520), "wrong"),
        (made(terminator_id=2), (151644, 9217), "wrong"),
        (made(preset="smollm2", terminator_id=2), (1, 520), "ok"),
        (made(engine_model="embedded_llm", terminator_id=334), (334, 64), "ok"),
    ],
)
def test_the_markers_of_preset_s1_are_checked_except_in_the_embedded_engine_which_serves_other_vocabularies(reply, marker, state):
    (finding,) = probe.tokenizer(probe.Probe(reply, [AnswerOpened(ids=marker)]))
    assert finding.state == state


def test_the_engine_and_its_manifest_are_reported():
    class Server:
        def __init__(self, ready, manifest=None):
            self._ready, self._manifest = ready, manifest

        def has_ready(self, _):
            if self._ready is None:
                raise S1Error("no such call")
            return self._ready

        def parameter(self, *_):
            return self._manifest

    def told(server, engine):
        context = checks.DoctorContext(settings=None, server=server, client=None)
        return [(one.check, one.state) for one in probe.engine(context, made(engine_model=engine))]

    assert told(Server(True), "embedded_llm") == [("engine", "ok")]
    assert told(Server(True), "tensorrt_llm") == [("engine", "ok"), ("manifest", "note")]
    assert told(Server(True, "1.2.1"), "tensorrt_llm") == [("engine", "ok"), ("manifest", "ok")]
    assert told(Server(False), "far_llm") == [("engine", "note")]
    assert told(Server(None), "far_llm") == [("engine", "ok")]
    assert told(Server(True), "") == []


def test_the_training_of_the_engines_model_is_reported():
    digests = {"dataset_sha256": "d" * 64, "recipe_sha256": "e" * 64}
    record = TrainingRecord(id="0123456789ab", name="tiny", base_model=None, dataset="puzzles", **digests)

    def told(training):
        reply = made()
        return probe.training(replace(reply, result=replace(reply.result, training=training))).text

    assert told(record) == f"0123456789ab: tiny, from random weights, on puzzles ({'d' * 12}), recipe {'e' * 12}"
    assert "tiny, from owner/name@1234, on puzzles" in told(replace(record, base_model="owner/name@1234"))
    assert told(None) == "the engine's model has no training record"


def test_small_shared_memory_is_wrong_and_a_remote_one_is_skipped(monkeypatch):
    def found(address):
        settings = type("Settings", (), {"address": address})
        (finding,) = checks.shared_memory(checks.DoctorContext(settings=settings, server=None, client=None))
        return finding.state

    for free_mb, state in ((64, "wrong"), (2048, "ok")):
        usage = type("Usage", (), {"total": 2**33, "free": free_mb * 2**20})
        monkeypatch.setattr(checks.shutil, "disk_usage", lambda _, usage=usage: usage)
        assert found("localhost:8001") == state
    assert found("far.example:8001") == "skipped"
