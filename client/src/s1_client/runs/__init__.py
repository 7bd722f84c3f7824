# SPDX-License-Identifier: Apache-2.0
"""Resumable runs: many requests, and a file of results from which a run that stopped goes on."""
