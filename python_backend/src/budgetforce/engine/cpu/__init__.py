# SPDX-License-Identifier: Apache-2.0
"""The embedded engine: a language model computed on this machine's CPU, by OpenVINO GenAI or llama.cpp."""
