#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A name that is no field.

curl -s localhost:8000/v2/models/s1/generate -d '{"text_input": "hi", "max_thinking_token": 3}'
