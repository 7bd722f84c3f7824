# SPDX-License-Identifier: Apache-2.0
"""Graders find the stated answer and convert it. Each case names its source, a right reference and a wrong reference.

authors     the s1 authors' grader: the last box, else what stands behind the last "Answer:"; letters in upper case
aime        how AIME and the models that solve it write integers
replies     what models of 135M to 32B parameters wrote here
tex         ways to write the same in TeX
harness     issues of lm-evaluation-harness and of other graders: what they read wrongly
"""

import time

import pytest

from s1_client.evaluation import GRADERS, VOTES
from s1_client.evaluation.grading import graders
from s1_client.evaluation.grading.statements import result_of, stated

LAST_LINE = "Final Answer: 11 * 5 = 55\n\nThis is right. In this case, 11 * 5 = 55, which is the result of 11 multiplied by itself f"

INTEGERS = [
    # --- which statement counts
    ("authors", r"so \boxed{12}, out of 30", 12, [30]),
    ("authors", r"\boxed{1} no, \boxed{8}", 8, [1]),
    ("authors", "Answer: 5. Let me check. Answer: 8", 8, [5]),
    ("authors", r"\boxed{5}. Final Answer: 6", 5, [6]),
    ("authors", "Final Answer: 7. I am sure: 100 %? Answer: 8", 8, [7, 100]),
    ("replies", LAST_LINE, 55, [11, 5]),
    ("replies", "Final Answer: 204. This follows since 12*17 = 205 - 1.", 204, [1, 205]),
    ("replies", "Final Answer: 35\n\nTo find the sum of 30 and 5, we add 30 and 5.", 35, [5, 30]),
    ("replies", "Final Answer: To find the sum, we add 30 and 5. 30 + 5 = 35. It has 2 digits.", 35, [5, 2]),
    ("replies", "Final Answer: 11 multiplied by 5 is 55.", 55, [5, 11]),
    ("replies", "Final Answer: 11 is a multiple of 8, so when you multiply 11 by 8, you get 88.", 88, [8, 11]),
    ("replies", "Final Answer: 5 * 4 = 20 coins are in 5 boxes.", 20, [5, 4]),
    ("replies", "Final Answer: 204, so it has 3 digits", 204, [3]),
    ("replies", "Final Answer: The total is 204. It has 3 digits.", 204, [3]),
    ("replies", "Final Answer: Ada has 5 apples and gets 7 more. 5 + 7 = 12. So Ada has 12 apples.", 12, [7]),
    ("replies", "Final Answer:\n\nThe answer is 204.", 204, []),
    ("replies", "Final Answer: Ben has 9 marbles.\n\nHe started with 5 and got 4.", 9, [4, 5]),
    ("replies", "Final Answer: Ben had 5. He gets 4 more. Now he has 9 marbles", 9, [4, 5]),
    ("replies", "Final Answer: 3 x 4", None, [3, 4, 12]),
    ("replies", "Answer: 5 is the smallest, since 4 is too small", 5, [4]),
    ("replies", "Answer: 23, because 5 divides 115", 23, [115, 5]),
    ("replies", "Final Answer: 204, the sum of 100 and 104", 204, [104]),
    ("replies", "Final Answer: 204 - the number of ways", 204, []),
    ("replies", "The answer to 5 + 3 is 8.", 8, [3]),
    ("replies", "I think the answer is 12. But is the answer right? Yes, 3 checks.", 12, []),
    ("replies", "3 + 4 = 7", "007", [4]),
    ("replies", "7, or 8", 8, [7]),
    ("replies", "391, not 392", 391, [392]),
    ("replies", "The answer is not 5 but 8.", 8, [5]),
    ("harness", "**Answer:** 4.", 4, []),
    ("harness", "**Final Answer**\n\n204", 204, []),
    ("harness", "### Final Answer\n204 apples", 204, []),
    ("harness", "It is 6 times 7.\n#### 42", 42, [7, 6]),
    ("harness", "The answer is **204**, 3 digits.", 204, [3]),
    ("harness", r"The answer is \boxed{1}. Yes, it is \boxed{1} because of 7.", 1, [7]),
    # --- a solution behind the mark, as a server puts the mark in
    ("replies", "Final Answer: There are 3 roots whose sum is 5. Multiplying gives 10. Thus the answer is 50.", 50, [3, 5, 10]),
    ("replies", "Final Answer: First case gives 12. Second case gives 30. In total, 12 + 30 = 42.", 42, [12, 30]),
    ("replies", "Final Answer: OI is 5. R is 13. AB·AC = 468.", 468, [5, 13]),
    ("replies", "Final Answer: Of 2024 values, 809 work.", 809, [2024]),
    ("replies", r"Final Answer: We find $\log_2(xyz) = -\frac{25}{8}$. Hence $m + n = 33$.", 33, [8, 25]),
    ("replies", "Final Answer: log_2(xyz) is -25/8. Hence m + n = 33.", 33, [8, 25]),
    ("replies", "Final Answer: Let us add.\n\nThe first sum is 12.\n\nTherefore, the answer is $\\frac{3}{4}$.", None, [12, 3, 4]),
    ("replies", "Final Answer: 204. It follows from 3 cases and 17 values", 204, [3, 17]),
    ("replies", "Final Answer: 204. The answer is odd, as 3 is. So x = 5.", 204, [3, 5]),
    ("replies", "Final Answer: 204! The number of cases is 3.", 204, [3]),
    ("replies", "Final Answer: The sum of all bases b>9 for which 17_b is a divisor of 97_b is 70.", 70, [9, 17, 97]),
    ("aime", "Final Answer: We get s = 2.5 and t = 24. So the walk takes 204 minutes", 204, [24]),
    ("aime", "Final Answer: We let $s$ be the speed. Then $9/s+t=4$. Solving, $t=24$. So it takes 204 minutes", 204, [4, 24]),
    ("aime", "Final Answer: After 3 hours P = 809/2024. Therefore 809.", 809, [3, 2024]),
    # --- equations that follow from each other, and lists
    ("aime", r"Final Answer: $\frac{1}{115}$, so $m+n = 116$.", 116, [1, 115]),
    ("aime", "Final Answer: a=3, b=4\n\nSo the answer is 7", 7, [3, 4]),
    ("replies", "Final Answer: 12 + 3 = 15, so 15 * 2 = 30.", 30, [15, 2]),
    ("replies", "Final Answer: 12 + 3 = 15\n15 * 2 = 30", 30, [15, 2]),
    ("replies", "Final Answer: 12 + 3 = 15. So 15 * 2 = 30. It has 2 digits", 30, [15, 2]),
    ("replies", "Final Answer: x = 3, y = 4, so x + y = 7", 7, [3, 4]),
    ("aime", "Final Answer: m=25, n=8, so the answer is 33.", 33, [25, 8]),
    ("aime", "Final Answer: $p = 5$, $q = 11$; $p+q = 16$", 16, [5, 11]),
    ("aime", "Final Answer: N = 5694, so Q + R = 5 + 694 = 699.", 699, [5694, 5, 694]),
    ("aime", r"Final Answer: $\frac{m}{n} = \frac{3}{4}$, so $m + n = 7$", 7, [3, 4]),
    ("replies", "Final Answer: 204. x = 5, y = 4.", 204, [5, 4]),
    ("replies", "Final Answer: 204.\n\n12 * 17 = 204\n3 + 5 = 8", 204, [8]),
    ("replies", "Final Answer: 15 = 12 + 3\n3 = 1 + 2", 15, [3, 12]),
    ("replies", "Final Answer: x = 3, y = 4", None, [3, 4]),
    ("replies", "Final Answer: x = 3 or x = -3", None, [3, -3]),
    ("replies", "Final Answer: 204 - the number of ways is 12 times 17", 204, [12, 17]),
    ("replies", "Final Answer: 5! = 120", 120, [5]),
    ("replies", "Final Answer: C(5,2) = 10", 10, [5, 2]),
    ("harness", "<think>7</think> so <answer>25</answer> of 30", 25, [7, 30]),
    # --- boxes
    ("tex", r"so $\boxed 5$", 5, []),
    ("tex", r"\boxed 5.", 5, []),
    ("tex", r"\fbox{25} of 30", 25, [30]),
    ("tex", r"\boxed{\boxed{7}}", 7, []),
    ("tex", r"\boxed {7} of 9", 7, [9]),
    ("replies", r"\boxed{204}. So the result is \boxed{20", 204, [20]),
    ("replies", r"\boxed{204}. So the result is \boxed{", 204, []),
    ("replies", r"\boxed{7} no, \boxed{8", None, [7, 8]),
    ("replies", r"so \boxed{204", None, [204]),
    ("replies", r"\boxed{\frac{1}{2", None, [1, 2]),
    ("replies", r"\boxed{}, or 7", None, [7]),
    ("replies", r"\boxed{1} no, \boxed{\frac{1}{2}3} of 9", None, [1, 3, 9]),
    ("harness", r"\boxed{2} and \boxed{3}", None, [2, 3]),
    ("harness", r"$x=\boxed{2}$, $y=\boxed{3}$", None, [2, 3]),
    ("harness", r"\boxed{3} \quad \text{or} \quad \boxed{-3}", None, [3, -3]),
    ("harness", r"\boxed{2}, \boxed{2}", 2, []),
    ("harness", r"\boxed{2, 3}", None, [2, 3]),
    ("harness", r"\boxed{(1, 2)}", None, [1, 2]),
    ("harness", r"\boxed{n=3k}", None, [3]),
    ("replies", "Answer: 23, 24", None, [23, 24]),
    ("replies", "Answer: 3 or 4", None, [3, 4]),
    # --- notations of one number
    ("aime", "The answer is 023.", 23, []),
    ("aime", r"\boxed{m+n=204}", 204, []),
    ("aime", r"\boxed{x = 5}", 5, []),
    ("aime", r"\boxed{204 \text{ minutes}}", 204, []),
    ("aime", r"\boxed{\textbf{204}}", 204, []),
    ("tex", r"\boxed{\bf 25}", 25, []),
    ("tex", r"\boxed{\large 25}", 25, []),
    ("tex", r"\boxed{\underline{25}}", 25, []),
    ("tex", r"\boxed{\color{red}25}", 25, []),
    ("tex", r"\boxed{\textcolor{red}{25}}", 25, []),
    ("tex", r"\boxed{25cm}", 25, []),
    ("tex", r"\boxed{25cm^2}", 25, [2]),
    ("aime", r"\boxed{5040 \equiv 40 \pmod{1000}}", 40, [1000, 5040]),
    ("tex", r"\boxed{8{,}000}", 8000, [0, 8]),
    ("tex", r"Answer: $8\,000$", 8000, [0, 8]),
    ("tex", r"\boxed{1\,234\,567}", 1234567, [567]),
    ("tex", r"\boxed{8,\!000}", 8000, [0]),
    ("tex", r"\boxed{8~000}", 8000, [0]),
    ("tex", r"\boxed{11,\! 111,\! 100}", 11111100, [100]),
    ("tex", r"\boxed{8\!000}", 8000, [0]),
    ("tex", r"\boxed{3,\ 100}", None, [3, 100, 3100]),
    ("tex", r"\boxed{3,\,100}", None, [3, 100, 3100]),
    ("tex", r"\boxed{(10,\ 200)}", None, [10, 200, 10200]),
    ("tex", r"\boxed{5,\ 120}", None, [5120]),
    ("replies", "8,000", 8000, [0]),
    ("replies", "8\N{NO-BREAK SPACE}000", 8000, [0]),
    ("replies", "8\N{NARROW NO-BREAK SPACE}000", 8000, [0]),
    ("replies", "8'000", 8000, [0]),
    ("replies", "Answer: 8 000. It has 4 digits", 8000, [0, 8]),
    ("replies", "Answer: 1,234,567 in all", 1234567, [567]),
    ("tex", r"\boxed{12\text{ cm}^2}", 12, [2]),
    ("tex", r"\boxed{45^\circ}", 45, []),
    ("tex", r"\boxed{50\%}", 50, []),
    ("tex", r"\boxed{\$5}", 5, []),
    ("tex", r"\boxed{-3}", -3, [3]),
    ("tex", r"\boxed{- 3}", -3, [3]),
    ("replies", "x = \N{MINUS SIGN}3", -3, [3]),
    ("replies", "Answer: - 3", -3, [3]),
    ("replies", "Answer:\n- 3 apples", 3, [-3]),
    ("replies", "204.0", 204, [0]),
    ("replies", "1e3", 1000, [1, 3]),
    ("tex", r"\boxed{1.5 \times 10^3}", 1500, [3, 10]),
    ("replies", "Answer\N{FULLWIDTH COLON}\N{FULLWIDTH DIGIT TWO}\N{FULLWIDTH DIGIT THREE}", 23, []),
    ("replies", "答案：204。因为有3个数字", 204, [3]),
    ("replies", "\N{ARABIC-INDIC DIGIT TWO}\N{ARABIC-INDIC DIGIT THREE}", 23, []),
    ("replies", "\N{DEVANAGARI DIGIT TWO}\N{DEVANAGARI DIGIT THREE} रुपये", 23, []),
    # --- what is no number as it stands
    ("tex", r"\boxed{\frac{3}{4}}", None, [3, 4]),
    ("tex", r"\boxed{\dfrac34}", None, [3, 4, 34]),
    ("tex", r"\boxed{2^{10}}", None, [2, 10]),
    ("tex", r"\boxed{3\sqrt{2}}", None, [2, 3]),
    ("tex", r"\boxed{\sqrt[3]{5}}", None, [3, 5]),
    ("tex", r"\boxed{2\pi}", None, [2]),
    ("tex", r"\boxed{3x^2}", None, [2, 3]),
    ("tex", r"\boxed{x > 5}", None, [5]),
    ("tex", r"\boxed{k \geq 25}", None, [25]),
    ("tex", r"\boxed{3m^2}", None, [3]),
    ("tex", r"\boxed{1010_2}", None, [2, 1010]),
    ("tex", r"\boxed{5!}", None, [5]),
    ("tex", r"\boxed{2\frac{1}{2}}", None, [1, 2]),
    ("tex", r"\boxed{2 + 3i}", None, [2, 3]),
    ("tex", r"\boxed{\log 5}", None, [5]),
    ("tex", r"x = \frac{7}{3}", None, [3, 7]),
    ("replies", "so it is \N{SQUARE ROOT}7", None, [7]),
    ("replies", "Answer: 3/4", None, [3, 4]),
    ("replies", "Answer: 2^10", None, [2, 10]),
    ("replies", "10\N{SUPERSCRIPT TWO}", None, [2, 10]),
    ("replies", "Final Answer: 30 + 5", None, [30, 5, 35]),
    ("replies", "10-3", None, [3, -3, 10]),
    ("replies", "Answer: 5:30", None, [5, 30]),
    ("replies", "7.5", None, [7, 5]),
    ("replies", "none", None, [7]),
    ("replies", "", None, [0]),
    ("replies", "9" * 5000, None, [9]),
]

LETTERS = [
    # --- which statement counts
    ("authors", "(B)", "B", "A"),
    ("authors", "Answer: C", "C", "A"),
    ("authors", r"A is tempting. \boxed{D}", "D", "A"),
    ("authors", "(c)", "C", ""),
    ("authors", r"\boxed{c}", "C", ""),
    ("authors", "Answer: b", "B", "A"),
    ("harness", "The correct answer is d.", "D", ""),
    ("harness", "b. 4", "B", ""),
    ("harness", r"\boxed{\langle H\rangle \ll \Delta E}, so **Answer: D**", "D", "EH"),
    ("harness", "The answer is B because a car moves.", "B", "A"),
    ("harness", "I would pick B — a safe choice.", "B", "AI"),
    ("harness", "The answer is B. Note that A is a common distractor.", "B", "A"),
    ("harness", "ANSWER IS D. A is incorrect.", "D", "A"),
    ("harness", "The answer is C because I computed the integral.", "C", "I"),
    ("harness", "I considered (A), but it is incorrect. Final answer: D.", "D", "A"),
    ("harness", "Answer: this asks which is a colour\n…\nANSWER: B", "B", "A"),
    ("harness", "A perfect answer cannot be found.", None, "A"),
    ("replies", "It is not B, the answer is D", "D", "B"),
    ("replies", "The answer is not B but D.", "D", "B"),
    ("replies", "The answer is not A.", None, "A"),
    ("replies", "Answer: C, not D", "C", "D"),
    ("replies", "A is correct because B fails", "A", "B"),
    ("replies", "B. A and C fail.", "B", "AC"),
    ("replies", "A. wrong\nB. wrong\nTherefore D", "D", "AB"),
    ("replies", "I eliminated A and C, so B remains", "B", "ACI"),
    ("replies", "Neither A nor B; it is C", "C", "AB"),
    ("replies", "D is incorrect, so the answer would be A.", "A", "D"),
    ("replies", "A train is late and I think B", "B", "AI"),
    ("replies", "A or B? It is A.", "A", "B"),
    ("replies", "Option C is the right one", "C", ""),
    ("replies", "Final Answer: B) 42\n\nA) is wrong since it is 7", "B", "A"),
    ("replies", "Final Answer: The correct option is (D)", "D", ""),
    ("replies", "Thus, (b) is the answer", "B", ""),
    ("replies", "Answer: A or B", None, "AB"),
    ("replies", "Answer: A, B and C", None, "ABC"),
    ("replies", "I, for one, would say D", "D", "I"),
    ("replies", "**C** because ΔG = RT ln K", "C", "GRTK"),
    ("replies", "c) 5 m/s", "C", ""),
    ("replies", "both", None, "B"),
    # --- a solution behind the mark, as a server puts the mark in
    ("replies", "Final Answer: Product A is benzene. The answer is B", "B", "A"),
    ("replies", "Final Answer: The molecule A is chiral. So option C.", "C", "A"),
    ("replies", "Final Answer: The star has mass M. Therefore, the answer is A.", "A", "M"),
    ("replies", "Final Answer: Only statement A is true, so B", "B", "A"),
    ("replies", "Final Answer: Compound B is an acid. C is correct, as A would react.", "C", "AB"),
    ("replies", "Final Answer: B. The answer is not A. So option C fails.", "B", "AC"),
    ("replies", "Final Answer: It is B.\n\nThe molecule A is chiral.", "B", "A"),
    ("replies", "Final Answer: A and B are wrong, C is correct", "C", "AB"),
    # --- words with one letter
    ("replies", "Final Answer: I would choose C", "C", "I"),
    ("replies", "I would say the answer is D", "D", "I"),
    ("replies", "The answer is A only", "A", ""),
    ("replies", "Final Answer: A only.", "A", ""),
    ("replies", "The answer is A while B is wrong", "A", "B"),
    ("replies", "The answer is A when B is false", "A", "B"),
    ("replies", "The answer is A that says so", "A", ""),
    ("replies", "Final Answer: A theory of I and C", "C", "A"),
    ("harness", "<answer>B</answer>", "B", "A"),
    # --- formulas
    ("tex", r"The area is $A = \pi r^2$, which gives C", "C", "A"),
    ("tex", r"Answer: by $E = mc^2$ it is C", "C", "E"),
    ("tex", r"The answer is B: \(A = B + C\)", "B", "AC"),
    ("tex", r"\boxed{\frac{A}{B}} so D", "D", "AB"),
    ("tex", r"The answer is (B): \boxed{42}", "B", ""),
    ("tex", r"\boxed{42}", None, "A"),
    # --- notations of one letter
    ("harness", r"\boxed{\text{E}}", "E", ""),
    ("harness", r"\boxed{E: A polygenic risk score}", "E", "A"),
    ("tex", r"\boxed{\textbf{(B)}}", "B", ""),
    ("tex", r"\boxed{B) 42}", "B", ""),
    ("tex", r"\boxed{A, B}", None, "AB"),
    ("tex", r"\fbox{B}", "B", ""),
    ("tex", r"$\boxed B$", "B", ""),
    ("tex", r"Answer: $\mathrm{C}$", "C", ""),
    ("tex", r"Answer: \(B\)", "B", ""),
    ("replies", "**B) Paris**", "B", ""),
    ("replies", "Answer\N{FULLWIDTH COLON}B", "B", "A"),
    ("replies", "答案：\N{FULLWIDTH LATIN CAPITAL LETTER B}", "B", ""),
]

LONGEST = 130_000  # characters of 32,000 tokens
REPEATED = ["\\boxed{", "Answer:", "\\frac{", "not ", "{", "(", "$", "1,", "^{", "A or ", "answer is ", "9 "]
REPEATED += [
    "9",
    "\\boxed",
    "=5 ",
    "=5, ",
    "x = 3, so ",
    "is 5. ",
    "so B ",
    "A is ",
    "the answer is 5",
    "1 000 ",
    "5!",
    "<answer>",
    "f(",
    "* ",
    "- ",
]
REPEATED += [
    "_",
    "a",
    " ",
    "\n",
    "\\boxed{1} and ",
    "\\(",
    "\\[",
    "\\begin{a}",
    "2^",
    "[",
    "\\sqrt[",
    "**",
    "Final Answer",
    "not the ",
    "9\n",
    "{\n",
    "so x. ",
]


@pytest.mark.parametrize(("source", "answer", "right", "wrong"), INTEGERS)
def test_the_integer_that_is_stated_is_graded_and_no_other(source, answer, right, wrong):
    grade = GRADERS["integer"]
    assert right is None or grade(answer, right), source
    assert [number for number in wrong if grade(answer, number)] == [], source


@pytest.mark.parametrize(("source", "answer", "right", "wrong"), LETTERS)
def test_the_letter_that_is_stated_is_graded_and_no_other(source, answer, right, wrong):
    grade = GRADERS["letter"]
    assert VOTES["letter"](answer) == right, source
    assert right is None or (grade(answer, right) and grade(answer, right.lower()) and grade(answer, f"({right})")), source
    assert [letter for letter in wrong if grade(answer, letter)] == [], source


def test_a_reference_that_no_answer_can_equal_is_not_matched_by_an_answer_without_a_number():
    assert not GRADERS["integer"]("none", "a half") and not GRADERS["letter"]("none", "both")


def test_a_number_of_any_length_is_graded():
    """Python's int() converts at most 4,300 digits."""
    digits = "9" * 5000
    assert GRADERS["integer"](digits, digits) and not GRADERS["integer"](digits, digits + "9") and not GRADERS["integer"](digits, 9)
    assert VOTES["integer"](rf"\boxed{{-{digits}}}") == f"-{digits}"
    assert GRADERS["text"](digits, digits) and not GRADERS["judge"](digits, "9")


def test_minus_nought_is_nought():
    assert VOTES["integer"]("-0") == VOTES["integer"]("0.0") == "0"


@pytest.mark.parametrize("text", REPEATED[:12])
@pytest.mark.parametrize("kind", ["integer", "letter", "text"])
def test_an_answer_that_repeats_itself_is_graded_wrong(kind, text):
    assert not GRADERS[kind](text * 500, "B" if kind == "letter" else 7)


@pytest.mark.parametrize("kind", ["integer", "letter"])
@pytest.mark.parametrize("text", REPEATED)
def test_no_answer_takes_the_square_of_its_length(kind, text):
    """Models repeat themselves up to 32,000 tokens: quadratic time would be minutes, linear time is a fraction of a second."""
    start = time.process_time()
    VOTES[kind]("Final Answer: " + text * (LONGEST // len(text)))
    assert time.process_time() - start < 10


def test_the_result_of_a_long_answer_takes_no_square_of_its_length():
    start = time.process_time()
    for text in REPEATED:
        VOTES["text"](text * (LONGEST // len(text)))
    assert time.process_time() - start < 30


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ("Answer: $x = 3.5$. It is less than 4. Really", "$x = 3.5$"),
        ("Answer: $1.\\ 2$ and so. More", "$1.\\ 2$ and so"),
        ("Answer:\n$$\nx = 7\n$$\nbecause", "$$\nx = 7\n$$"),
        ("Answer: The roots are:\n\n$2$ and $3$\n\nmore", "The roots are:\n$2$ and $3$"),
        (r"it is \boxed{a. b}", "a. b"),
        ("one. two", "one. two"),
        ("The answer is 0.5.", "0.5"),
        ("So the answer is **1/2**.", "1/2"),
        ("Final Answer: (1,2).", "(1,2)"),
        ("Final Answer: **42**", "42"),
        ("Final Answer: Evelyn. The answer is found by comparing slopes", "Evelyn"),
        ("Final Answer: The answer is $p - q$.", "$p - q$"),
        ("Final Answer: The answer is $x_1$, as I said.", "$x_1$, as I said"),
        ("Final Answer: We compare all of the slopes. So the answer is Evelyn.", "Evelyn"),
    ],
)
def test_the_result_is_the_first_sentence_or_formula_behind_a_mark(answer, result):
    assert result_of(stated(answer)) == result


def test_texts_vote_without_regard_to_case_and_white_space():
    assert VOTES["text"]("Answer:  New\t York") == VOTES["text"]("new york") == "new york"
    assert VOTES["text"]("Answer: 5.") == VOTES["text"]("Answer: **5**") == VOTES["text"]("5.") == "5"
    assert VOTES["text"]("  ") is None


@pytest.mark.parametrize(("expected", "grading"), [(7, "integer"), ("-7", "integer"), ("B", "letter"), ("Paris", "text"), (0.5, "text")])
def test_the_reference_says_which_grading_fits(expected, grading):
    assert graders.grading_of(expected) == grading
