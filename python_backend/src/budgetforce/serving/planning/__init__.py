# SPDX-License-Identifier: Apache-2.0
"""From a checked request and a model preset to a plan in token ids, or to a refusal that names the field."""
