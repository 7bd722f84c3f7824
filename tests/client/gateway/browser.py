# SPDX-License-Identifier: Apache-2.0
"""A real Chromium, driven by Playwright, and the gateway's page in it. Every page is watched for errors and for calls to elsewhere."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 320, "height": 640}}
PATIENCE_MS = 30_000
IDLE = "body:not(.busy)"


def require_browser(root: Path) -> str:
    """The path of Chromium, with Playwright made importable. Skips the test where one of them is missing."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no Chromium on PATH ({', '.join(NAMES)})")
    folders = list(root.glob(".s1/browser/lib/python3*/site-packages"))
    if not folders:
        pytest.skip("python3 build/local.py test makes the environment of Playwright")
    sys.path.extend(str(folder) for folder in folders if str(folder) not in sys.path)  # last: the main environment goes first
    return path


@contextlib.contextmanager
def chromium(root: Path) -> Iterator[Any]:
    """A running browser."""
    path = require_browser(root)
    from playwright.sync_api import sync_playwright  # importable from here on

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page, and what went wrong in it. Elements are named by CSS selectors, inputs by their names."""

    page: Any
    origin: str
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self._note(message.type in ("error", "warning"), f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self._note(True, f"exception: {error}"))
        self.page.on("request", lambda request: self._note(not request.url.startswith((self.origin, "data:")), f"call of {request.url}"))

    def _note(self, is_problem: bool, text: str) -> None:
        if is_problem:
            self.problems.append(text)

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements, with their white space as one blank each."""
        return [re.sub(r"\s+", " ", text).strip() for text in self.page.locator(selector).all_text_contents()]

    def text(self, selector: str) -> str:
        (text,) = self.texts(selector)
        return text

    def fill(self, selector: str, value: object, number: int = 0) -> None:
        self.page.locator(selector).nth(number).fill(str(value))

    def wait(self, selector: str, text: str | None = None) -> None:
        self.page.locator(selector, has_text=text).first.wait_for()

    def start(self, question: str) -> None:
        self.page.fill("#question", question)
        self.page.click("#go")

    def ask(self, question: str) -> None:
        """Ask, and wait for the end."""
        self.start(question)
        self.wait(IDLE)

    def draw(self, **values: object) -> None:
        """Draw the curve with these inputs, and wait for the end."""
        for name, value in values.items():
            self.fill(f"#curve [name={name}]", value)
        self.page.click("#draw")
        self.wait(IDLE)

    def pixels_beyond_the_window(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@contextlib.contextmanager
def opened(browser: Any, url: str, size: str = "desktop", **options: Any) -> Iterator[Watched]:
    """The page of the gateway at ``url`` in a window of a size. At the end nothing has gone wrong in it."""
    context = browser.new_context(viewport=SIZES[size], has_touch=size == "phone", **options)
    context.set_default_timeout(PATIENCE_MS)
    watched = Watched(context.new_page(), url)
    watched.page.goto(f"{url}/")
    yield watched
    assert watched.problems == []
    assert watched.pixels_beyond_the_window() == 0
    context.close()
