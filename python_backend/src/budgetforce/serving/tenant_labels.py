# SPDX-License-Identifier: Apache-2.0
"""The label of a tenant in metrics. Independent of Triton.

Every value of a label is a series that Prometheus keeps, so the number of values has a bound: the first names get a label of their
own, all further ones share another.
"""

from __future__ import annotations

NUM_NAMES = 100
NO_TENANT, OTHER_TENANTS = "(none)", "(other)"  # no tenant can have such a name


class TenantLabels:
    """Gives each tenant its label, in the order in which they come."""

    def __init__(self, num_names: int = NUM_NAMES) -> None:
        self._num_names = num_names
        self._names: set[str] = set()

    def label_of(self, tenant: str) -> str:
        """Return the tenant's name, ``NO_TENANT`` for "", or ``OTHER_TENANTS`` if too many others came before."""
        if not tenant:
            return NO_TENANT
        if tenant not in self._names and len(self._names) >= self._num_names:
            return OTHER_TENANTS
        self._names.add(tenant)
        return tenant
