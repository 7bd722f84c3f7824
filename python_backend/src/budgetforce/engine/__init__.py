# SPDX-License-Identifier: Apache-2.0
"""Engines: clients of an engine model behind NVIDIA's ``tensorrt_llm`` tensors, and the libraries that serve as such a model."""
