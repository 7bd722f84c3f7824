#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A chat: JSON within a string, which jq makes. `id` names the request.

jq -n '[{role: "user", content: "What is 479 + 384?"}] | {messages: tojson, max_thinking_tokens: 20, id: "mine"}' |
  curl -s localhost:8000/v2/models/s1/generate -d @-
