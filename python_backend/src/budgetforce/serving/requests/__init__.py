# SPDX-License-Identifier: Apache-2.0
"""The fields of a request to model ``s1``: which exist, how large they may be and which values they allow."""
