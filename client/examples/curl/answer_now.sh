#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Close the thinking of the running request of that id: its answer follows.

curl -s localhost:8000/v2/models/s1/generate -d '{"id": "mine", "answer_now": true}'
