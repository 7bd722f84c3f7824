# SPDX-License-Identifier: Apache-2.0
"""An HTTP gateway with OpenAI's API in front of a server of model ``s1``: a client of its gRPC port, on any machine.

Request models and translations are pure; ``app`` is the shell around them, over one ``s1_client.AsyncClient``.
"""
