# SPDX-License-Identifier: Apache-2.0
"""Tasks that come with the package: questions of our own, and the scripts that made them."""
