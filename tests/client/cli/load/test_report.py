# SPDX-License-Identifier: Apache-2.0
"""The page, the figures and the summary that ``s1 report`` writes."""

import json
import re
from html.parser import HTMLParser

import pytest

from client.cli.running import call
from client.loadtest.samples import failed, level, random_level, request, run
from s1_client.cli.load.views import by_load
from s1_client.loadtest._compare import compare
from s1_client.loadtest._metric_definitions import TERMS
from s1_client.loadtest._summary import Slo

VOID = {"meta", "br", "link", "img", "input", "hr"}
CONTROLS = "\u202e\u2066\u200b\x1b"  # bidirectional controls, an invisible character, and one that XML forbids
HOSTILE = CONTROLS + """<script>alert("x")</script><b>$\\frac{1}$ & 'it'"""


class Page(HTMLParser):
    """Parses a page into text and tags, and refuses an end tag that does not close the open tag."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def report(tmp_path):
    """Return a function that writes records, runs the report, and returns its folder."""

    def made(*runs, options=(), code=0):
        folders = [tmp_path / str(number) for number in range(len(runs))]
        for folder, one in zip(folders, runs, strict=True):
            folder.mkdir()
            (folder / "run.json").write_text(one.to_json())
        out = tmp_path / "out"
        call("report", *folders, "--out", out, *options, code=code)
        return out

    return made


def page_in(folder):
    return Page((folder / "report.html").read_text())


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Return the report of a run of two levels, with a limit of 50 ms that no request keeps."""
    folder = tmp_path_factory.mktemp("swept")
    levels = (random_level(1, 40, concurrency=1), random_level(2, 40, concurrency=4))
    (folder / "run.json").write_text(run(*levels).to_json())
    call("report", folder, "--max-ttft-ms", 50)
    return folder / "report"


def test_the_page_is_self_contained(swept):
    page = page_in(swept)
    assert not page.all("script") and not page.all("link") and not page.all("img")
    addresses = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href", "xlink:href")]
    assert addresses and all(value.startswith("#") for value in addresses)
    assert not re.search(r"url\((?!#)|@import", "".join(page.words))


def test_tables_have_headings_and_figures_have_descriptions(swept):
    page = page_in(swept)
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.all("th"))
    figures = page.all("svg")
    assert len(figures) == len(page.all("figcaption")) == 6
    assert all(attributes["role"] == "img" and len(attributes["aria-label"]) > 30 for attributes in figures)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_the_page_describes_the_run_and_defines_every_figure(swept):
    text = page_in(swept).text
    assert all(term.definition in text for term in TERMS.values())
    assert all(word in text for word in ("Passed its checks", "embedded_llm", "a CPU, 2 cores", "concurrency 1", "concurrency 4"))


def test_faults_are_at_the_top_of_the_page(report):
    wrong = run(level(*[request()] * 3, request(checks=("the thinking has 9 tokens of 8 allowed",)), failed()))
    page = page_in(report(wrong))
    assert page.text.index("Did not pass its checks") < page.text.index("scenario")
    assert "the thinking has 9 tokens of 8 allowed" in page.text and "Overloaded: too many requests" in page.text
    assert any("bad" in attributes.get("class", "") for attributes in page.all("div"))


@pytest.mark.parametrize("one", [level(), level(failed(), failed()), level(duration_s=0.0)])
def test_a_level_without_replies_is_reported(report, one):
    assert "0 replies" in page_in(report(run(one))).text


def test_a_run_without_levels_is_reported_as_wrong(report):
    assert "no level was run" in page_in(report(run())).text


@pytest.mark.filterwarnings("ignore:Glyph 27")  # no font has one for it
def test_untrusted_texts_are_escaped(report):
    hostile = run(
        level(request(work=HOSTILE), request(), failed(end=HOSTILE, message=HOSTILE), request(checks=(HOSTILE,))),
        label=HOSTILE,
        scenario_name=HOSTILE,
        scenario={"about": HOSTILE, HOSTILE: HOSTILE},
        engine={HOSTILE: HOSTILE},
        server_version=HOSTILE,
    )
    folder = report(hostile, run(level(failed())))
    page = page_in(folder)
    assert not page.all("script") and page.text.count("alert") > 5
    assert not set(CONTROLS) & set((folder / "report.html").read_text())


def test_two_runs_are_compared(report):
    before = run(random_level(1), label="old")
    folder = report(before, run(random_level(2, slower=1.5), label="new", scenario_hash="another"))
    page = page_in(folder)
    assert "new compared with old" in page.text
    assert "The scenarios differ" in page.text and "higher: worse" in page.text
    (pair,) = json.loads((folder / "summary.json").read_text())["comparisons"]
    ratio = next(one for one in pair["ratios"] if one["name"] == "request_latency_ms")
    assert pair["before"]["label"] == "old" and ratio["low"] < ratio["ratio"] < ratio["high"]


def conclusion(before, after):
    """Return the conclusion on the only load of the two runs."""
    (load,) = by_load(compare(run(before), run(after), Slo()))
    return load.conclusion


def test_the_conclusion_on_two_runs():
    assert conclusion(random_level(1), random_level(1)) == "The two runs are indistinguishable."
    assert conclusion(random_level(1), random_level(2, slower=1.5)) == "The two runs differ in 19 of 20 figures that have an interval."
    assert conclusion(level(request()), level(request())) == "There are too few requests to say whether the two runs differ."


def test_figures_and_summary_are_files(swept):
    names = {path.stem for path in swept.glob("*.png")}
    assert names == {"throughput", "latency", "first-token", "between-tokens", "rounds", "tokens"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in swept.glob("*.png"))
    summary = json.loads((swept / "summary.json").read_text())
    assert (summary["schema"], summary["limits"]["time_to_first_token_ms"]) == ("s1-loadtest-summary/1", 50)
    assert summary["runs"][0]["levels"][0]["share_good"] == 0


def test_runs_with_the_same_label_are_named_by_their_start(report):
    text = page_in(report(run(level(failed())), run(level(failed()), started_at="2027-01-01T00:00:00+00:00"))).text
    assert "before (client, 2027-01-01T00:00:00+00:00)" in text


def test_folders_of_runs_are_paired_by_scenario(tmp_path):
    for side, names in (("a", "xy"), ("b", "yz")):
        for name in names:
            (tmp_path / side / name).mkdir(parents=True)
            (tmp_path / side / name / "run.json").write_text(run(level(failed()), scenario_name=name, label=side + name).to_json())
    call("report", tmp_path / "a", tmp_path / "b")
    text = page_in(tmp_path / "b" / "report").text
    assert "by compared with ay" in text and text.count("compared with") == 1


@pytest.mark.parametrize(
    ("record", "message"),
    [(None, "no run.json in it"), ("{}", "schema: got None, allowed"), ('{"schema": "s1-loadtest/1"}', "label: missing")],
)
def test_a_folder_without_a_record_is_refused(tmp_path, record, message):
    if record:
        (tmp_path / "run.json").write_text(record)
    assert message in call("report", tmp_path, code=2).output


def test_folders_with_nothing_in_common_are_refused(tmp_path):
    for side, names in (("a", "xy"), ("b", "vw")):
        for name in names:
            (tmp_path / side / name).mkdir(parents=True)
            (tmp_path / side / name / "run.json").write_text(run(scenario_name=name).to_json())
    assert "nothing to compare" in call("report", tmp_path / "a", tmp_path / "b", code=2).output
