#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# End the running request of that id.

curl -s localhost:8000/v2/models/s1/generate -d '{"id": "mine", "cancel": true}'
