#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The same as server-sent events.

curl -s localhost:8000/v2/models/s1/generate_stream -d '{"text_input": "How many r in raspberry", "max_thinking_tokens": 12, "max_tokens": 4, "stream": true}'
