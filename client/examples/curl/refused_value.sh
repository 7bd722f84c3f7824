#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A value that is not allowed.

curl -s localhost:8000/v2/models/s1/generate -d '{"text_input": "hi", "top_p": 7}'
