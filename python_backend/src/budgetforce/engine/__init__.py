# SPDX-License-Identifier: Apache-2.0
"""Language models behind the tensors of NVIDIA's ``tensorrt_llm``: how they are called, and the one that runs on a CPU."""
