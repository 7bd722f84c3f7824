# SPDX-License-Identifier: Apache-2.0
"""Makes docs/images/page.png: the gateway's page with three budgets of one question, by s1-tiny, in a real Chromium.

    python tests/client/gateway/page_picture.py             # start a server and a gateway, then take the picture
    python tests/client/gateway/page_picture.py --sizes DIR # both sizes, light and dark, whole pages, into a folder: to look at

Needs Chromium, and the environment of Playwright that ``python3 build/local.py test`` makes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PICTURE = ROOT / "docs" / "images" / "page.png"
QUESTION = "How many r in raspberry"
PORT = "8080"  # the picture shows it
sys.path.insert(0, str(ROOT / "tests"))

from client.gateway.browser import SIZES, chromium, opened  # noqa: E402
from client.gateway.calls import gateway  # noqa: E402


def start() -> None:
    """Start a server on free ports, and this file again with its address in the environment."""
    ports = [f"--{name}-port=0" for name in ("http", "grpc", "metrics")]
    launcher = [sys.executable, "-m", "budgetforce.launcher", *ports, "--", sys.executable, __file__, "--take", *sys.argv[1:]]
    subprocess.run(launcher, cwd=ROOT, check=True)


def take_readme(url: str) -> None:
    with chromium(ROOT) as browser, opened(browser, url, color_scheme="light", reduced_motion="reduce") as page:
        page.ask(QUESTION)
        page.ask(QUESTION)  # the first reply of a new server has to warm up
        page.page.evaluate("document.activeElement.blur()")
        page.page.mouse.move(0, 0)
        bottom = page.page.locator(".lane").first.bounding_box()
        page.page.screenshot(path=PICTURE, clip={"x": 0, "y": 0, "width": 1280, "height": bottom["y"] + bottom["height"] + 14})


def take_all(url: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with chromium(ROOT) as browser:
        for size in SIZES:
            for scheme in ("light", "dark"):
                with opened(browser, url, size, color_scheme=scheme, reduced_motion="reduce") as page:
                    page.ask(QUESTION)
                    page.draw()
                    page.page.screenshot(path=folder / f"{size}-{scheme}.png", full_page=True)


def main(arguments: list[str]) -> None:
    if arguments[:1] != ["--take"]:
        start()
        return
    with gateway(os.environ["S1_URL"], "--port", PORT) as door:
        if arguments[1:2] == ["--sizes"]:
            take_all(door.url, Path(arguments[2]))
        else:
            take_readme(door.url)


if __name__ == "__main__":
    main(sys.argv[1:])
