# SPDX-License-Identifier: Apache-2.0
"""Build a TensorRT-LLM engine that Triton can serve: plan, download, convert, build, render, verify.

Nothing here needs a running Triton; tensorrt_llm is called by the commands of the pinned image, never imported.
"""
