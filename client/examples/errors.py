# SPDX-License-Identifier: Apache-2.0
"""Tell errors apart: a refused value, a deadline, anything else."""

from s1_client import Client, DeadlineExceeded, InvalidRequest, S1Error

with Client() as client:
    for options in ({"top_p": 7.0}, {"min_thinking_tokens": 1400, "deadline_s": 0.3}, {"max_thinking_tokens": 10, "max_tokens": 4}):
        try:
            print(client.think("Tell me a long story", **options).answer)
        except InvalidRequest as error:
            print(f"{error.field}: got {error.value}, allowed: {error.allowed}")
        except DeadlineExceeded as error:
            print("too slow; so far:", [partial.thinking for partial in error.partial])
        except S1Error as error:
            print(type(error).__name__, error.retryable, error.request_id)
