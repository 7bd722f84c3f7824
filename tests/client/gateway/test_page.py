# SPDX-License-Identifier: Apache-2.0
"""The page in a real Chromium, as large as a desktop's window and as a phone's."""

import os
import re
import subprocess
import time

import pytest

from client.gateway.browser import IDLE, SIZES, chromium, opened
from s1_client import EngineFailed
from s1_client.evaluation._intervals import wilson

pytestmark = pytest.mark.xdist_group("browser")
BOTH = pytest.mark.parametrize("size", ["desktop", "phone"])
FILES = "client/src/s1_client/gateway/page"
RASPBERRY = {"thinking": ("Glance: 2.", ", spell: r1 a1 s1 r2 r3. So 3."), "answer": "3"}
PHASES = re.compile(r"|Waiting for the server|(Budget [123]: )?(Thinking|Answering|Done|Stopped|End refused, \d of \d)|All done")


@pytest.fixture(scope="module")
def browser(root):
    with chromium(root) as browser:
        yield browser


@pytest.fixture
def page(browser, gateway, request):
    """With a budget as long as the context, and one end that is refused."""
    with opened(browser, gateway.url, getattr(request, "param", "phone")) as page:
        yield page


def wait_for(happened, seconds=10):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def of(server, question):
    return [request for request in list(server.requests) if request.prompt == [{"role": "user", "content": question}]]


# --- a reply ----------------------------------------------------------------------------------------


@BOTH
def test_a_thought_is_shown_while_it_comes(browser, gateway, server, size):
    server.says(to="page slowly", thinking="one " * 500, token_delay_s=0.02)
    with opened(browser, gateway.url, size) as page:
        page.start("page slowly")
        page.wait(".lane:last-child .thought", "one one one")
        page.wait(".busy .running .count b", "9")
        for part in ("#now", "#stop", ".lane:first-child .bar", ".lane:first-child .thought"):
            wait_for(lambda part=part: 0 <= page.page.locator(part).bounding_box()["y"] < SIZES[size]["height"] - 100)
        page.page.keyboard.press("Escape")
        page.wait(IDLE)


@pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True)
def test_a_refused_end_and_the_text_in_its_place_are_marked(page, server):
    server.says(to="page raspberry", **RASPBERRY)
    page.ask("page raspberry")
    last = ".lane:last-child"
    assert page.text(f"{last} .thought") == "Glance: 2.end refused, 1 of 1Wait, spell: r1 a1 s1 r2 r3. So 3. ended by itself"
    assert page.texts(f"{last} .chip") == ["end refused, 1 of 1", "ended by itself"]
    assert page.text(f"{last} .thought mark") == "Wait"
    assert page.text(f"{last} .answer p") == "3"
    assert page.text(f"{last} .account").startswith(
        "12 thinking tokens (1 injected), end refused at 2, ended by itself · 1 answer token, complete · "
    )
    assert page.text("#status") in ("Done", "All done")


def test_the_bar_is_exact_and_has_a_tick_at_each_refused_end(page, server):
    server.says(to="page ticks", thinking=("a b c d", " e f", " g h i"))
    page.fill("[name=refusals]", 2)
    page.fill("[name=budget]", 22)
    page.ask("page ticks")
    assert page.text(".count") == "11 of 22 tokens"
    places = page.page.eval_on_selector_all(".tick", "ticks => ticks.map(tick => parseFloat(tick.style.left))")
    assert places == pytest.approx([400 / 22, 700 / 22], abs=0.01)
    assert page.page.eval_on_selector(".fill", "element => element.style.width") == "50%"
    bar = page.page.locator(".bar")
    values = [bar.get_attribute(f"aria-value{name}") for name in ("now", "max", "text")]
    assert values == ["11", "22", "11 of 22 tokens, end refused at 4, 7"]


@pytest.mark.parametrize(("budget", "chip", "tokens"), [(0, "no thinking", "0 of 0"), (1, "is spent", "1 of 1"), (5, "is spent", "5 of 5")])
def test_a_cut_is_marked_where_it_happened(page, server, budget, chip, tokens):
    server.says(to="page cut", thinking="one two three four five six seven")
    page.fill("[name=budget]", budget)
    page.ask("page cut")
    assert page.text(".chip.cut").endswith(chip)
    assert page.text(".count").startswith(f"{tokens} token")


def test_grace_and_a_least_length_are_settings(page, server):
    server.says(to="page least", thinking=("one", " two three four five six"))
    page.page.click("#settings summary")
    page.fill("[name=min_thinking_tokens]", 4)
    page.fill("[name=refusals]", 0)
    page.fill("[name=ignore_str]", "Hmm")
    page.fill("[name=budget]", 40)
    page.fill("[name=grace_tokens]", 10)
    page.ask("page least")
    assert page.page.eval_on_selector(".grace", "part => [part.style.left, part.style.width].join()") == "80%,20%"
    assert page.text(".thought").startswith("oneend refused: too earlyHmm two three")


def test_the_end_of_a_long_thought_stays_in_sight_unless_its_reader_scrolls(page, server):
    server.says(to="page far", thinking="one two three four five " * 2000)
    page.fill("[name=budget]", 8_000)
    page.ask("page far")
    from_end = "box => box.scrollHeight - box.scrollTop - box.clientHeight"
    wait_for(lambda: page.page.eval_on_selector(".thought", from_end) < 2)
    assert page.text(".count b") == "8,000"
    server.says(to="page far", thinking="one two three four five " * 2000, token_delay_s=0.005)
    page.start("page far")
    wait_for(lambda: page.page.eval_on_selector(".thought", "box => box.scrollTop") > 100)
    page.page.eval_on_selector(".thought", "box => { box.scrollTop = 0; }")
    height = page.page.eval_on_selector(".thought", "box => box.scrollHeight")
    wait_for(lambda: page.page.eval_on_selector(".thought", "box => box.scrollHeight") > height + 100)
    assert page.page.eval_on_selector(".thought", "box => box.scrollTop") == 0
    page.page.keyboard.press("Escape")
    page.wait(IDLE)


@BOTH
def test_answer_now_ends_the_thinking(browser, gateway, server, size):
    server.says(to="page long", thinking="one " * 2000, answer="enough.", token_delay_s=0.02)
    with opened(browser, gateway.url, size) as page:
        page.start("page long")
        page.wait("#now[aria-disabled=false]")
        while page.page.locator("#now[aria-disabled=false]").count():  # of several budgets one may begin later
            page.page.locator("#now").click() if size == "desktop" else page.page.locator("#now").tap()
            page.page.wait_for_timeout(50)
        page.wait(IDLE)
        assert page.texts(".chip.cut")[-1] == "cut by Answer now"
        assert page.texts(".answer p")[-1].endswith("enough.")
        assert "cut by Answer now" in page.texts(".account")[-1]


@pytest.mark.parametrize("by", ["Escape", "#stop"])
def test_stop_ends_the_request_on_the_server(page, server, by):
    question = f"page endless {by}"
    server.says(to=question, thinking="one " * 5000, token_delay_s=0.02)
    page.start(question)
    page.wait(".thought", "one")
    page.page.keyboard.press(by) if by == "Escape" else page.page.click(by)
    page.wait(IDLE)
    assert (page.text(".chip.cut"), page.text(".account"), page.text("#status")) == ("stopped", "Stopped.", "Stopped")
    (request,) = of(server, question)
    wait_for(lambda: request.end is not None)


def test_text_of_the_model_is_never_markup(page, server):
    server.says(to="page markup", thinking="<img src=x onerror=alert(1)>", answer="<b>bold</b>")
    page.ask("page markup")
    assert "<img src=x onerror=alert(1)>" in page.text(".thought")
    assert page.text(".answer p") == "<b>bold</b>"
    assert page.page.locator("main img, main b:not(.count b)").count() == 0


def test_a_failure_is_a_sentence_and_the_next_question_works(browser, gateway, server):
    server.says(to="page breaks", thinking="one two three", error=EngineFailed("out of blocks"), error_after=2)
    server.says(to="page works", thinking="one")
    with opened(browser, gateway.url, "phone") as page:
        page.ask("page breaks")
        assert "out of blocks" in page.text(".account .problem")
        assert page.text("#status") == "Failed"
        page.ask("page works")
        assert page.texts(".account .problem") == []
        assert page.text("#status") == "Done"


def test_a_gateway_that_cannot_be_reached_is_a_sentence(page):
    page.page.context.set_offline(True)
    page.ask("page nobody")
    assert page.text(".account") == "The gateway cannot be reached."
    page.problems.remove("console: Failed to load resource: net::ERR_INTERNET_DISCONNECTED")


def test_a_budget_that_is_none_is_not_sent(page, server):
    page.fill("[name=budget]", -1)
    page.start("page a bad budget")
    assert page.page.evaluate("document.activeElement.name") == "budget"
    assert of(server, "page a bad budget") == []


# --- several budgets --------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["desktop"], indirect=True)
def test_budgets_side_by_side_have_one_prompt_and_one_seed(page, server):
    server.says(to="page compare", **RASPBERRY)
    page.fill("[name=budget]", 2, 1)
    page.ask("page compare")
    assert page.texts(".count b") == ["0", "2", "12"]
    assert page.texts(".lane h2") == ["Budget 1", "Budget 2", "Budget 3"]
    sent = [request.options for request in of(server, "page compare")]
    assert sorted((options["max_thinking_tokens"], options["num_ignore"]) for options in sent) == [(-1, 1), (0, 0), (2, 0)]
    assert {options["seed"] for options in sent} == {1}
    for part in (".lane", ".thought", ".answer p", ".account"):  # side by side, whatever their lengths
        assert len({one.bounding_box()["y"] for one in page.page.locator(part).all()}) == 1
    widths = page.page.eval_on_selector_all(".fill", "elements => elements.map(element => parseFloat(element.style.width))")
    assert widths == pytest.approx([0, 200 / 16, 1200 / 16])  # one scale for all, of at least 16 tokens


def test_a_budget_is_added_and_removed(page):
    page.page.click("#add")
    page.page.click("#add")
    assert page.page.locator(".lane").count() == 3
    assert page.page.locator("#add").is_hidden()
    page.page.click("[aria-label='Remove budget 2']")
    assert page.texts(".lane h2") == ["Budget 1", "Budget 2"]
    assert page.page.evaluate("document.activeElement.id") == "add"


# --- the curve --------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["desktop", "phone"], indirect=True)
def test_the_curve_has_a_point_and_an_interval_for_each_budget(page, server):
    server.says(to="page curve", thinking="one two three four", answer="The answer is 3.")
    page.page.fill("#question", "page curve")
    page.draw(known="3", samples=8, budgets="2, 0, 4")
    low, high = wilson(8, 8)
    assert page.texts("#rows tr:first-child td") == ["0", "0.0", "8 of 8", f"{100 * low:.0f} % to {100 * high:.0f} %", "3 ×8"]
    assert [row.split("8 of 8")[0] for row in page.texts("#rows tr")] == ["00.0", "22.0", "44.0"]
    circles = page.page.locator("#plot circle")
    assert (circles.count(), page.page.locator("#plot .interval").count()) == (3, 3)
    assert page.text("#status") == "Curve: done"
    assert {options["num_samples"] for options in (request.options for request in of(server, "page curve"))} == {8}


@pytest.mark.parametrize(
    ("answer", "known", "right"),
    [
        ("so 1,234.", "1234", 2),
        ("3 or 4", "3", 0),
        ("It is Paris.", "paris", 2),
        ("nothing", "7", 0),
        ("x = -2.50", "-2.5", 2),
        ("10-4", "4", 2),
    ],
)
def test_an_answer_is_right_by_its_last_number_or_by_its_words(page, server, answer, known, right):
    server.says(to=f"page grade {known}", answer=answer)
    page.page.fill("#question", f"page grade {known}")
    page.draw(known=known, samples=2, budgets="0")
    assert page.texts("#rows td")[2] == f"{right} of 2"


def test_escape_stops_a_curve(page, server):
    server.says(to="page long curve", thinking="one " * 5000, token_delay_s=0.02)
    page.page.fill("#question", "page long curve")
    page.fill("#curve [name=budgets]", "5000")
    page.page.click("#draw")
    wait_for(lambda: of(server, "page long curve"))
    page.page.keyboard.press("Escape")
    page.wait(IDLE)
    assert page.text("#status") == "Curve: stopped"
    wait_for(lambda: of(server, "page long curve")[0].end is not None)


# --- the request as code ----------------------------------------------------------------------------


def test_the_shown_programs_send_the_same_request(page, server, root):
    question = 'page, it\'s "quoted" $HOME `x` \\ é\nsecond line'
    server.says(to="page, it", thinking="one two three four five", answer="done")
    page.page.click("#settings summary")
    page.fill("[name=budget]", 3)
    page.fill("[name=temperature]", 0.5)
    page.fill("[name=ignore_str]", 'Wait, it\'s "early"')
    page.page.fill("#question", question)
    curl, python, command = page.page.locator("#code pre").all_text_contents()
    page.ask(question)
    environment = {**os.environ, "PATH": f"{root}/.s1/env/bin:{os.environ['PATH']}", "S1_URL": server.url}
    for program in (["bash", "-c", curl], [root / ".s1/openai/bin/python", "-c", python], ["bash", "-c", command]):
        if not str(program[0]).startswith("/") or program[0].exists():
            done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False, env=environment)
            assert done.returncode == 0, done.stderr
            assert "done" in done.stdout
    first, *others = [{**request.options, "timeout_ms": None} for request in of(server, question)]
    assert first["max_thinking_tokens"] == 3
    assert len(others) >= 2
    assert all(other == first for other in others)


@pytest.mark.parametrize(("permissions", "said"), [(["clipboard-read", "clipboard-write"], "Copied"), ([], "Selected; copy it")])
def test_a_program_is_copied_or_selected(browser, gateway, permissions, said):
    with opened(browser, gateway.url, "desktop", permissions=permissions) as page:
        page.page.click("details.card summary")
        page.page.click("[aria-label='Copy: curl']")
        page.wait("#status", said)
        copied = page.page.evaluate("navigator.clipboard.readText()" if permissions else "getSelection().toString()")
        assert copied == page.page.locator("#code pre").first.text_content()


# --- access, security -------------------------------------------------------------------------------


def test_a_key_is_needed_once_and_kept_in_memory_alone(browser, guarded, server):
    server.says(to="page guarded", thinking="one", answer="in")
    key = guarded.key
    with opened(browser, guarded.url, "phone") as page:
        page.wait("#status", "Enter an API key in the settings")
        assert page.page.locator("#key").is_visible()
        page.page.fill("#key", key)
        page.ask("page guarded")
        assert page.text(".answer p") == "in"
        stored = page.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
        assert stored == f'[{{}},{{}},"","{guarded.url}/"]'
        assert key not in page.page.content()
        page.problems.remove("console: Failed to load resource: the server responded with a status of 401 (Unauthorized)")


def test_the_policy_of_the_page_is_strict(gateway):
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    for path in ("/", "/page.js", "/lane.js", "/page.css"):
        headers = gateway.get(path).headers
        assert headers["content-security-policy"] == policy
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_the_files_are_small_and_write_no_markup(root):
    files = sorted((root / FILES).iterdir())
    assert {"index.html", "page.css", "page.js"} <= {file.name for file in files}
    assert sum(file.stat().st_size for file in files) < 44_000
    assert all(len(file.read_text().splitlines()) < 250 for file in files)
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc|style=|\son\w+=|import\("
    for file in files:
        text = file.read_text()
        assert re.findall(forbidden, text) == []
        assert set(re.findall(r"https?://[\w./]+", text)) <= {"http://www.w3.org/2000/svg"}


# --- keyboard, screen reader, looks -----------------------------------------------------------------


def test_everything_works_from_the_keyboard(page, server):
    server.says(to="page typed", thinking="one " * 2000, answer="done", token_delay_s=0.02)
    page.page.keyboard.press("Tab")
    assert page.page.evaluate("document.activeElement.id") == "question"
    page.page.keyboard.press("Control+A")
    page.page.keyboard.type("page typed")
    page.page.keyboard.press("Control+Enter")
    page.wait("#now[aria-disabled=false]")
    page.page.keyboard.press("Control+.")
    page.wait(IDLE)
    assert page.text(".chip.cut") == "cut by Answer now"
    assert page.page.evaluate("document.activeElement.id") == "question"
    order = []
    for _ in range(5):
        page.page.keyboard.press("Tab")
        order.append(page.page.evaluate("document.activeElement.id || document.activeElement.name || document.activeElement.localName"))
        assert page.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert order == ["summary", "go", "now", "stop", "budget"]


def test_a_screen_reader_hears_phases_and_no_tokens(page, server):
    server.says(to="page heard", **RASPBERRY)
    live = page.page.locator("[aria-live], [role=status], [role=alert], [role=log], output")
    assert (live.count(), live.first.get_attribute("id")) == (1, "status")
    page.page.evaluate(
        "window.heard = []; new MutationObserver(() => heard.push(document.getElementById('status').textContent))"
        ".observe(document.getElementById('status'), { childList: true })"
    )
    page.ask("page heard")
    heard = page.page.evaluate("heard")
    assert {"Thinking", "Answering", "Done"} <= set(heard)
    assert [text for text in heard if not PHASES.fullmatch(text)] == []


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_axe_finds_no_fault(browser, gateway, server, size, scheme):
    from axe_playwright_python.sync_playwright import Axe  # importable once there is a browser

    server.says(to="page axe", **RASPBERRY)
    with opened(browser, gateway.url, size, color_scheme=scheme, reduced_motion="reduce") as page:
        page.fill("[name=budget]", 5)
        page.page.click("#settings summary")
        page.page.click("details.card summary")
        page.page.evaluate("document.getElementById('about').hidden = false")
        page.ask("page axe")
        page.draw(samples=2)
        faults = Axe().run(page.page).response["violations"]
        assert [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in faults] == []


def test_nothing_moves_where_motion_is_unwanted(browser, gateway):
    moving = "getComputedStyle(document.querySelector('.fill')).transitionDuration"
    with opened(browser, gateway.url, reduced_motion="reduce") as page:
        assert page.page.evaluate(moving) == "0s"
    with opened(browser, gateway.url) as page:
        assert page.page.evaluate(moving) == "0.1s"


def test_without_a_training_record_nothing_is_said_about_the_model(page, server):
    server.says(to="page who", thinking="one")
    page.ask("page who")
    assert page.page.locator("#about").is_hidden()
