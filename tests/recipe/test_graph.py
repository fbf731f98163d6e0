"""References lead to stages, models and folders, or are refused; the order follows them."""

import pytest

from enogu.core.records.errors import Refused
from enogu.recipe.graph import graph
from enogu.recipe.references import references
from tests import pretend

CHAIN = """
[models]
base = "mini-sd1"
[page.p]
title = "t"
[look.l]
models = ["base", "tuned", "half", "tuned@64"]
[blend.half]
formula = "base + tuned"
[bake.tuned]
start = "base"
phases = [{ rate = 1.0, drawings = "a" }]
[read.r]
drawings = "a"
[draw.a]
[draw.b]
"""


def test_a_stage_comes_after_what_it_reads(recipe):
    order = graph(recipe(CHAIN)).order
    assert sorted(order) == sorted(["page.p", "look.l", "blend.half", "bake.tuned", "read.r", "draw.a", "draw.b"])
    for above, below in (
        ("draw.a", "read.r"),
        ("draw.a", "bake.tuned"),  # through a phase
        ("bake.tuned", "blend.half"),  # through a formula
        ("blend.half", "look.l"),
        ("bake.tuned", "look.l"),
        ("look.l", "page.p"),
    ):
        assert order.index(above) < order.index(below)
    assert order[-1] == "page.p"


def test_what_is_needed_stops_behind_what_is_finished(recipe):
    found = graph(recipe(CHAIN))
    assert found.needed(["blend.half"], lambda id: False) == ("draw.a", "bake.tuned", "blend.half")
    assert found.needed(["blend.half"], lambda id: id == "bake.tuned") == ("blend.half",)
    assert found.needed(["blend.half"], lambda id: id == "draw.a") == ("bake.tuned", "blend.half")
    assert found.needed(["blend.half"], lambda id: True) == ()


def test_a_stage_is_found_by_its_name_where_it_is_the_only_one(recipe):
    found = graph(recipe("[draw.a]\n[draw.b]\n[read.a]\ndrawings = 'a'"))
    assert (found.find("b"), found.find("read.a")) == ("draw.b", "read.a")
    with pytest.raises(Refused, match=r"may be draw\.a or read\.a: say which"):
        found.find("a")
    with pytest.raises(Refused, match=r"unknown stage 'raed.a'; did you mean 'read.a'"):
        found.find("raed.a")


def test_references_are_found_wherever_they_stand():
    config = pretend.BakeConfig(start="x@8", phases=(pretend.Phase(rate=1.0, drawings="d"), pretend.Phase(rate=1.0)))
    assert [(one.field, one.name, one.kinds) for one in references(config)] == [
        ("start", "x@8", ("model",)),
        ("drawings", "d", ("draw",)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[draw.anna]\n[read.r]\ndrawings = 'ana'", "read.r.drawings: unknown draw stage 'ana'; did you mean 'anna'?"),
        ("[read.r]\ndrawings = 'ana'", "read.r.drawings: unknown draw stage 'ana'; known: none"),
        ("[draw.a]\n[bake.b]\nstart = 'a'", "bake.b.start: 'a' is the stage draw.a; expected a model"),
        ("[blend.b]\nformula = 'x + y'", "blend.b.models: unknown model 'x'"),
        ("[models]\nm = 'mini-sd1'\n[bake.b]\nstart = 'm@4'", "bake.b.start: 'm@4': m keeps no checkpoints on the way"),
        (
            "[models]\nm = 'mini-sd1'\n[blend.n]\nformula = 'm'\n[bake.b]\nstart = 'n@4'",
            "'n@4': n keeps no checkpoints",
        ),
        ("[models]\nm = 'mini-sd1'\n[bake.b]\nstart = 'm@'", "write a checkpoint as NAME@IMAGES, for example m@12800"),
        ("[bake.b]\nstart = 'b'", "the stages read each other in a circle: bake.b -> bake.b"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused(recipe, text, message):
    with pytest.raises(Refused) as caught:
        graph(recipe(text))
    assert message in str(caught.value)


def test_every_lost_reference_is_told_at_once(recipe):
    with pytest.raises(Refused) as caught:
        graph(recipe("[read.r]\ndrawings = 'x'\nagain = 'y'\n[look.l]\nmodels = ['z']"))
    assert len(str(caught.value).splitlines()) == 3


def test_a_circle_is_shown_in_the_direction_of_reading(recipe):
    with pytest.raises(Refused) as caught:
        graph(recipe("[bake.a]\nstart = 'b'\n[bake.b]\nstart = 'c'\n[blend.c]\nformula = 'a'"))
    ring = str(caught.value).partition("circle: ")[2].split(" -> ")
    reads = {"bake.a": "bake.b", "bake.b": "blend.c", "blend.c": "bake.a"}
    assert [reads[id] for id in ring[:-1]] == ring[1:]
