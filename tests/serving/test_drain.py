# SPDX-License-Identifier: Apache-2.0
"""The drain file announces that the server stops, and how long running requests have."""

import pytest

from budgetforce.serving.drain import DrainFile, DrainOrder


@pytest.fixture
def path(tmp_path):
    return tmp_path / "drain"


def test_the_seconds_are_returned_once_when_the_line_is_complete(path):
    file = DrainFile(str(path), pytest.fail)
    assert file.read() is None
    for text in ("", "4", "45"):
        path.write_text(text)
        assert file.read() is None
    path.write_text("45\n")
    assert [file.read(), file.read()] == [DrainOrder(45.0), None]


def test_an_announcement_comes_before_the_seconds(path):
    file = DrainFile(str(path), pytest.fail)
    path.write_text("announce\n")
    assert [file.read(), file.read()] == [DrainOrder(None), None]
    path.write_text("45\n")
    assert [file.read(), file.read()] == [DrainOrder(45.0), None]


def test_without_a_file_nothing_is_returned():
    assert DrainFile("", pytest.fail).read() is None


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_a_text_that_is_not_a_number_of_seconds_is_logged_once(path, text):
    told = []
    file = DrainFile(str(path), told.append)
    path.write_text(f"{text}\n")
    assert [file.read(), file.read()] == [None, None]
    assert told == [f"{path}: got '{text}', allowed: announce, or a number of seconds >= 0; the server does not drain"]
