# SPDX-License-Identifier: Apache-2.0
"""The server side of s1 on Triton: budget forcing as a served feature."""
