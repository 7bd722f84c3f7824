# SPDX-License-Identifier: Apache-2.0
"""From questions to a training set: collect, trace, grade, describe, decontaminate, select and render them."""
