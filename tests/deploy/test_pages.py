# SPDX-License-Identifier: Apache-2.0
"""The commands of the pages about operation, as far as they can be checked without running them."""

import re
import shlex

import pytest

from budgetforce.launcher import options as launcher

PAGES = ("deployment", "operations", "security", "scaling", "gpu-engine", "engines", "gateway", "kubernetes")


def commands(root, page):
    """Yield the words of each command in a page's shell blocks; a continued line is one command."""
    text = (root / "docs" / f"{page}.md").read_text()
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if re.search(r"docker|s1 serve|launcher", line):
                yield shlex.split(line, comments=True)


def launched(words):
    """Return the launcher's arguments of a command that starts it, else None."""
    for program in (["s1", "serve"], ["-m", "budgetforce.launcher"]):
        for at in range(len(words) - 1):
            if words[at : at + 2] == program:
                return [word for word in words[at + 2 :] if word != "&"]
    return None


@pytest.mark.parametrize("page", PAGES)
def test_the_launcher_takes_the_pages_commands(root, page):
    for words in commands(root, page):
        if (arguments := launched(words)) is not None:
            launcher.parse_options(arguments)  # exits with code 2 for what it does not know


def test_a_command_with_an_unknown_option_is_found():
    with pytest.raises(SystemExit):
        launcher.parse_options(launched(shlex.split("docker run image python3 -m budgetforce.launcher --engine-folder x")))


def test_the_container_that_is_started_by_hand_finds_what_the_build_left(root):
    """And Docker gives its stop the time that the drain needs."""
    (build,) = [words for words in commands(root, "gpu-engine") if "build/engine.py" in words and "docker" in words]
    (start,) = [words for words in commands(root, "gpu-engine") if words[:2] == ["docker", "run"] and "-m" in words]
    options = launcher.parse_options(launched(start))
    mounts = dict(word.removesuffix(":ro").split(":") for word in start if word.endswith(":ro"))
    assert options.engine == "tensorrt_llm"
    assert str(options.engine_dir) == build[build.index("--engine-path") + 1] == mounts["WORK/engine"]
    assert str(options.tokenizer) == mounts["WORK/tokenizer"]
    assert mounts["$PWD/model_repository"] == "/opt/s1/model_repository"  # WORKDIR of the image; the launcher's default is below it
    assert "WORKDIR /opt/s1\n" in (root / "build/Dockerfile").read_text()
    assert "model_repository/tensorrt_llm\n" in f"{(root / '.dockerignore').read_text()}\n"  # hence the mount
    assert options.host == "0.0.0.0"
    assert int(start[start.index("--stop-timeout") + 1]) >= options.drain_s + 25


@pytest.mark.parametrize("page", ["deployment", "operations", "security", "scaling", "gateway"])
def test_compose_has_the_settings_and_services_of_the_pages_commands(root, page):
    known = set(re.findall(r"^([A-Z0-9_]+)=", (root / ".env.example").read_text(), re.M))
    services = set(re.findall(r"^  ([a-z]+):", (root / "docker-compose.yml").read_text().partition("\nservices:")[2], re.M))
    for words in commands(root, page):
        if "docker" in words and "compose" in words:
            given = {word.partition("=")[0] for word in words[: words.index("docker")]}
            assert given <= known
            if "run" in words:
                assert words[-1] in services
