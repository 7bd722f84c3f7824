# SPDX-License-Identifier: Apache-2.0
"""Formulas are compared by math-verify from any thread, and endless comparisons are ended."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from s1_client.evaluation import GRADERS, MissingPackage
from s1_client.evaluation.grading import graders, math_verifier
from s1_client.evaluation.grading.math_verifier import Verifier

FOREVER = r"\boxed{9^{9^{9^{9}}}}"


@pytest.fixture(scope="module", autouse=True)
def process():
    """Share a verifier among the tests and end its process after them."""
    yield
    graders._verifier().close()


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        (r"so \boxed{\frac{1}{2}}", "0.5"),
        (r"\boxed{\dfrac12}", r"\frac{1}{2}"),
        (r"Final Answer: $2\sqrt{3}$", r"\sqrt{12}"),
        (r"\boxed{(x+1)^2}", "x^2+2x+1"),
        (r"\boxed{(3, \frac{\pi}{2})}", r"\left( 3, \frac{\pi}{2} \right)"),
        (r"\boxed{\text{Evelyn}}", r"\text{Evelyn}"),
        ("Answer: 1,234", "1234"),
        ("it is $x = 7$.", "7"),
        (r"\boxed{10\%}", r"10\%"),
        ("words", "words"),
        (r"\boxed 5", "5"),
        (r"\fbox{\frac{3}{4}}", "0.75"),
        (r"\boxed{8{,}000}", "8000"),
        (r"\boxed{8\,000}", "8000"),
        (r"The roots are \boxed{2} and \boxed{3}.", "2, 3"),
        (r"Final Answer: $\frac{1}{2}$. This follows since $x = 3$ and $y = 7$.", "0.5"),
        ("Answer:\n$$\n\\frac{1}{2}\n$$\nas $x = 3$", "0.5"),
        ("Answer\N{FULLWIDTH COLON}\N{FULLWIDTH DIGIT TWO}", "2"),
        (r"\boxed{204}. So the result is \boxed{20", "204"),
        ("The answer is 0.5.", "0.5"),
        ("So the answer is 1/2.", "0.5"),
        ("The final answer is 2.5 cm.", "2.5"),
        ("The answer is 1,234.", "1234"),
        ("Final Answer: 5.", "5"),
        ("Final Answer: (1,2).", "(1,2)"),
        ("Final Answer: **42**", "42"),
        ("Final Answer: The answer is $p - q$.", "p - q"),
        ("Final Answer: The roots are $1$, $-2$.", "1, -2"),
        ("Final Answer: The number of factors is 9.", "9"),
        (r"\boxed{3,\ 100}", "3, 100"),
        (r"\boxed{11,\! 111,\! 100}", r"11,\!111,\!100"),
    ],
)
def test_the_same(answer, reference):
    assert GRADERS["math"](answer, reference)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        (r"\boxed{\frac{1}{3}}", "0.5"),
        (r"\boxed{7} no, \boxed{8}", "7"),
        (r"\boxed{(1, 2)}", "(2, 1)"),
        ("", "7"),
        (r"\boxed{}", "7"),
        (r"\boxed{\frac{1}{", "1"),
        ("no idea", "7"),
        (r"so \boxed{204", "204"),
        (r"The roots are \boxed{2} and \boxed{3}.", "3"),
        (r"Final Answer: $\frac{1}{2}$. This follows since $x = 3$.", "3"),
        ("\\boxed{" + "9" * 5000 + "}", "9"),
        ("\\boxed{\0\udcff\n}", "7"),
        ("{" * 5000, "7"),
    ],
)
def test_not_the_same(answer, reference):
    assert not GRADERS["math"](answer, reference)


def test_threads_may_ask():
    """math-verify itself works only in the main thread."""
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda n: GRADERS["math"](rf"\boxed{{\frac{{{n}}}{{2}}}}", f"{n / 2}"), range(8))) == [True] * 8


def test_an_endless_comparison_is_wrong_and_logged_and_the_next_is_graded(caplog):
    verifier = Verifier(limit_s=0.5)
    try:
        assert not verifier.is_same("7", FOREVER)
        assert "math-verify exceeded 0.5 s" in caplog.text
        verifier._limit_s = 60.0  # or a busy machine might need more
        assert verifier.is_same("0.5", r"\boxed{\frac{1}{2}}")
    finally:
        verifier.close()


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(math_verifier, "PACKAGE", "no_such_package")
    with pytest.raises(MissingPackage, match=r"pip install './client\[eval\]'"):
        Verifier().is_same("1", "2")


def test_a_process_that_does_not_start_is_no_wrong_answer(monkeypatch):
    monkeypatch.setattr(math_verifier, "_COMMAND", (math_verifier.sys.executable, "-c", "pass"))
    with pytest.raises(MissingPackage, match="does not start"):
        Verifier().is_same("1", "2")
