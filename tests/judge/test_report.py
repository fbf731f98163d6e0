"""The page: whole, self-contained, honest about what is missing; the drawings behind it."""

import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import polars as pl
import pytest

from enogu.core.records.files import write_json
from enogu.core.records.job import Job
from enogu.judge.config import ReportConfig
from enogu.judge.report import run
from enogu.judge.report.embedding import BUDGET, BYTES_PER_PIXEL, fitting_side
from enogu.judge.report.lineage import layers
from enogu.judge.report.scales import duration, short, ticks

from .conftest import lend

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Collects elements and notes tags that do not close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def report(works: Any, **config: Any) -> tuple[str, Page]:
    out = works.root / "report"
    config = {"title": "Rabbit ears", "recipe_text": '[recipe]\nname = "<b>&"', **config}
    run(ReportConfig(**config), Job(out=out, inputs={"stages": works.folders}), reader=lend)
    html = (out / "report.html").read_text("utf-8")
    return html, Page(html)


def test_the_page_is_whole_and_loads_nothing(works: Any) -> None:
    html, page = report(works)
    assert page.open == []
    assert not re.search(r"https?://|url\(|@import", html)
    for tag, attributes in page.elements:
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)


def test_every_picture_and_drawing_has_words(works: Any) -> None:
    _, page = report(works)
    pictures = [attributes for tag, attributes in page.elements if tag == "img" and attributes.get("src")]
    assert len(pictures) == 27 + 24  # 3 models x 3 prompts x 3 seeds, and a sheet of 3 x 8
    assert all(attributes["alt"] for attributes in pictures)
    drawings = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert all(attributes.get("aria-label") or attributes.get("aria-hidden") for attributes in drawings)


def test_what_a_maker_wrote_is_shown_and_never_markup(works: Any) -> None:
    html, page = report(works, title="Ears & <script>alert(1)</script>", note="for <i>you</i>")
    assert "<script>alert" not in html
    assert "<i>you" not in html
    assert '[recipe]\nname = "<b>&"' in page.words
    words = "".join(page.words)
    assert "0.5*base + 0.5*tuned" in words
    assert "2 min 31 s" in words  # of train.tuned


def test_a_damaged_sample_leaves_a_gap_and_not_an_error(works: Any) -> None:
    (works.folders["grid.compare"] / "images" / "base-0-1.png").write_bytes(b"cut")
    html, _ = report(works)
    assert html.count(">missing<") == 1


def test_the_funnel_tells_only_where_posts_were_lost(works: Any) -> None:
    steps = [("read", 9), ("rating", 9), ("year", 5), ("min_side", 5), ("image", 5)]
    funnel = [{"step": step, "left": left} for step, left in steps]
    write_json(works.folders["posts.drawn"] / "posts.json", {"root": ".", "posts": 5, "funnel": funnel, "skipped": {}})
    html, _ = report(works)
    assert re.findall(r"<li><span>(\w+)</span><b", html)[:3] == ["read", "year", "image"]


def test_pictures_are_shown_with_what_training_reads(works: Any) -> None:
    _, page = report(works)
    told = {attributes["data-head"]: attributes["data-words"] for tag, attributes in page.elements
            if tag == "button" and (attributes.get("data-head") or "").startswith("post ")}  # fmt: skip
    assert len(told) == 24
    assert all(words == lend(works.folders["captions.tags"], 0).plain(int(head.split()[1]))
               for head, words in told.items() if head)  # fmt: skip


def test_posts_without_captions_are_shown_without(works: Any) -> None:
    del works.folders["captions.tags"]
    _, page = report(works)
    assert [attributes["data-words"] for tag, attributes in page.elements if "data-words" in attributes][-24:] == [
        ""
    ] * 24


def test_a_page_without_stages_is_still_a_page(works: Any) -> None:
    works.folders.clear()
    _, page = report(works)
    assert page.open == []
    assert "Rabbit ears" in page.words


def test_a_judged_grid_shows_marks_verdicts_and_the_ceiling(works: Any) -> None:
    measure = {"low": 0.1, "high": 0.9, "mean": 0.5, "spread": 0.1, "per_seed": [0.4, 0.6], "prompts": 3}
    names = [(name, model) for name in ("recall", "recall.new") for model in ("base", "tuned", "half")]
    folder = works.stage("judge.recall", {"grid": {"compare": "grid.compare"}})
    measured = {
        "models": ["base", "tuned", "half"], "seeds": [1], "groups": {"new": ["rabbit_ears"]},
        "unjudged": ["masterpiece"],
        "tags": {"rabbit_ears": {"base": 0.0, "tuned": 1.0, "half": 0.33}}, "ceiling": {"recall.new": 0.93},
        "tag_ceilings": {"rabbit_ears": {"recall": 0.93, "false_alarms": 0.01, "posts": 10}},
        "verdicts": ["tuned draws new concepts better than base: +1.00 [+1.00, +1.00]"],
        "differences": [{"name": "recall.new", "model": "tuned", "against": "base", "mean": 1, "low": 1, "high": 1}],
        "measures": [{"name": name, "model": model, **measure} for name, model in names],
        "loss_bins": {"edges": [0, 500, 1000], "images": 4, "models": {"base": [0.3, 0.1], "tuned": [0.2, 0.1]}},
    }  # fmt: skip
    write_json(folder / "measures.json", measured)
    scores = [("images/tuned-2-1.png", "tag.rabbit_ears", 1.0), ("images/base-2-1.png", "tag.rabbit_ears", 0.0)]
    pl.DataFrame(scores, schema=["image", "metric", "value"], orient="row").write_parquet(folder / "scores.parquet")
    html, page = report(works)
    words = "".join(page.words)
    assert "tuned draws new concepts better than base" in words
    assert "ceiling 0.93" in words
    assert "3 prompts × 1 seed for each model" in words
    assert html.count('<i class="hit">') == 1
    assert html.count('<span class="special">(rabbit ears:1.2)</span>') == 1
    assert "judge.recall reads grid.compare" in html


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.0113, 0.0119), (-3, 12_000), (1e-5, 2e-4)])
def test_ticks_are_round_few_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 7
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in found)
    step = found[1] - found[0]
    leading = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert any(math.isclose(leading, nice, rel_tol=1e-6) for nice in (1, 2, 2.5, 5))


def test_numbers_are_written_as_people_read_them() -> None:
    assert [short(x) for x in (0, 1200, 0.25, 1e-4, 2_500_000)] == ["0", "1.2k", "0.25", "1e-4", "2.5M"]
    assert [duration(s) for s in (0.42, 59, 60, 200, 7500)] == ["0.4 s", "59 s", "1 min", "3 min 20 s", "2 h 5 min"]


def test_lineage_puts_everything_behind_what_it_reads() -> None:
    reads = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c", "file"], "e": ["a", "d"]}
    table, chains = layers(reads)
    column = {node: index for index, nodes in enumerate(table) for node in nodes}
    assert all(column[source] < column[node] for node, above in reads.items() for source in above)
    assert {chain[0] + chain[-1] for chain in chains} == {"ab", "ac", "bd", "cd", "filed", "ae", "de"}
    assert all(column[after] == column[before] + 1 for chain in chains for before, after in pairwise(chain))


def test_lineage_uncrosses_two_lines() -> None:
    table, _ = layers({"a": [], "b": [], "c": ["b"], "d": ["a"]})
    assert [table[0].index(node) for node in "ba"] == [table[1].index(node) for node in "cd"]


@pytest.mark.parametrize("count", [1, 300, 2000])
def test_pictures_fit_the_page(count: int) -> None:
    side = fitting_side(count, most=512)
    assert side == 64 or count * side * side * BYTES_PER_PIXEL <= BUDGET * 1.001
    assert 64 <= side <= 512
