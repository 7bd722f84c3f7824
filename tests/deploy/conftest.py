# SPDX-License-Identifier: Apache-2.0
"""Helm, and what build/deploy/chart renders."""

import pytest

from deploy.charts import USES
from deploy.helm import helm


@pytest.fixture(scope="session")
def deploy(root):
    return root / "build" / "deploy"


@pytest.fixture(scope="session")
def renderer(tmp_path_factory):
    with helm(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture(scope="session")
def render(renderer, deploy):
    """Render the chart with value files of build/deploy and with values, as release s1 or, for a build, s1-build."""

    def run(files=(), values=None, **options):
        if (values or {}).get("mode") == "build":
            options["release"] = "s1-build"
        return renderer.render(deploy / "chart", values, [deploy / name for name in files], **options)

    return run


@pytest.fixture(scope="session")
def uses(render):
    """What each use renders."""
    return {name: render(*use) for name, use in USES.items()}
