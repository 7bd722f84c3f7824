# SPDX-License-Identifier: Apache-2.0
"""The teachers that think about questions: a rule, columns of a data set, a chat API, our own server."""
