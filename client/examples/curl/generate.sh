#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One response with the whole reply.

curl -s localhost:8000/v2/models/s1/generate -d '{"text_input": "How many r in raspberry", "max_thinking_tokens": 40, "max_tokens": 8}'
