# SPDX-License-Identifier: Apache-2.0
"""A receiver of spans, as a process: OTLP over HTTP, protobuf from s1 and JSON from Triton. Run as a file.

    otlp_receiver.py FILE

Prints its port, then writes a line of JSON for each span to FILE. While FILE.silent exists it takes messages and never answers them;
then FILE.held exists.
"""

import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

IDS = ("traceId", "spanId", "parentSpanId")


def spans_in(body, is_json):
    """Flatten a message: each span as a dict with hex ids, plain attributes, its scope and its service."""
    message = json.loads(body) if is_json else json_format.MessageToDict(ExportTraceServiceRequest.FromString(body))
    for resource in message["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                ids = {name: span.get(name, "") for name in IDS}  # hex in JSON (OTLP), base64 in protobuf's own JSON
                yield {
                    "name": span["name"],
                    **(ids if is_json else {name: base64.b64decode(text).hex() for name, text in ids.items()}),
                    "kind": span.get("kind"),
                    "start": int(span["startTimeUnixNano"]),
                    "end": int(span["endTimeUnixNano"]),
                    "attributes": plain(span.get("attributes", [])),
                    "status": span.get("status", {}),
                    "scope": scope["scope"]["name"],
                    "resource": plain(resource["resource"]["attributes"]),
                }


def plain(attributes):
    return {entry["key"]: value_of(entry["value"]) for entry in attributes}


def value_of(value):
    ((kind, content),) = value.items()
    if kind == "arrayValue":
        return [value_of(item) for item in content.get("values", [])]
    return int(content) if kind == "intValue" else content


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open, as a collector's do

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if file.with_suffix(".silent").exists():
            file.with_suffix(".held").touch()
            threading.Event().wait()
        lines = [json.dumps(span) for span in spans_in(body, "json" in self.headers["content-type"])]
        with lock, file.open("a") as out:
            out.write("".join(f"{line}\n" for line in lines))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    file, lock = Path(sys.argv[1]), threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    print(server.server_port, flush=True)
    server.serve_forever()
