# SPDX-License-Identifier: Apache-2.0
"""A planned request turned into a reply: its samples, their engine calls, their text and how it leaves."""
