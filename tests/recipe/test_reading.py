"""A recipe is read whole or refused with every problem, a line each."""

import pytest

from enogu.core.records.errors import Refused
from enogu.recipe.kinds import KINDS, load
from enogu.recipe.reading import read
from tests import pretend


def refusal(recipe, text, **options):
    with pytest.raises(Refused) as caught:
        recipe(text, **options)
    return str(caught.value)


def test_a_table_becomes_typed_settings(recipe):
    found = recipe("""
        [draw.a]
        ink = 2
        size = [4, 6]
        [bake.b]
        start = "c"
        phases = [{ rate = 1e-4 }, { rate = 1, drawings = "a" }]
        words = { hat = "red" }
        [models]
        c = { file = "c.safetensors" }
    """)
    drawing, baking = found.stages["draw.a"].config, found.stages["bake.b"].config
    assert drawing == pretend.DrawConfig(ink=2.0, size=(4, 6))
    assert isinstance(drawing.ink, float)
    assert baking.phases == (pretend.Phase(rate=1e-4), pretend.Phase(rate=1.0, drawings="a"))
    assert baking.words == {"hat": "red"}
    assert found.models["c"].file == found.path.parent / "c.safetensors"


def test_seed_and_text_come_from_the_recipe_unless_given(recipe):
    found = recipe('seed = 7\n[draw.a]\n[draw.b]\nseed = 1\n[page.p]\ntitle = "t"')
    assert found.stages["draw.a"].config.seed == 7
    assert found.stages["draw.b"].config.seed == 1
    assert found.stages["page.p"].config.recipe_text == found.path.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[draw.a]\ncuont = 3", "recipe.toml: draw.a: unknown key 'cuont'; did you mean 'count'?"),
        ("[drew.a]", "recipe.toml: unknown table 'drew'; did you mean 'draw'?"),
        ("[draw.a]\ncount = 'x'", "recipe.toml: draw.a.count: expected a whole number, got 'x'"),
        ("[draw.a]\ncount = true", "recipe.toml: draw.a.count: expected a whole number, got True"),
        ("[draw.a]\ncount = 1.5", "recipe.toml: draw.a.count: expected a whole number, got 1.5"),
        ("[draw.a]\nink = 'x'", "recipe.toml: draw.a.ink: expected a number, got 'x'"),
        ("[draw.a]\nink = inf", "recipe.toml: draw.a.ink = inf: give a finite number"),
        ("[draw.a]\nink = nan", "recipe.toml: draw.a.ink = nan: give a finite number"),
        ("[draw.a]\nsize = [1]", "recipe.toml: draw.a.size: expected 2 values, got 1"),
        ("[draw.a]\nsize = [1, 'x']", "recipe.toml: draw.a.size[1]: expected a whole number, got 'x'"),
        ("[draw.a]\npaper = 'crean'", "recipe.toml: draw.a.paper: unknown value 'crean'; did you mean 'cream'?"),
        ("[draw.a]\ncount = 0", "recipe.toml: draw.a: count = 0: draw at least one"),
        ("[draw]\ncount = 3", "recipe.toml: draw.count: expected a table; stages are named, as in [draw.NAME]"),
        ("draw = 3", "recipe.toml: recipe: unknown key 'draw'"),
        ("[read.a]", "recipe.toml: read.a: the key 'drawings' is missing; expected a string"),
        ("[read.a]\ndrawings = 3", "recipe.toml: read.a.drawings: expected a string, got 3"),
        ("[bake.b]\nstart = 'x'\nphases = [{}]", "bake.b.phases[0]: the key 'rate' is missing; expected a number"),
        ("[bake.b]\nstart = 'x'\nwords = { a = 3 }", "recipe.toml: bake.b.words.a: expected a string, got 3"),
        ("[look.l]\nmodels = 'x'", "recipe.toml: look.l.models: expected a list (a string each), got 'x'"),
        ("[draw.'../up']", "recipe.toml: draw: the name '../up' may hold only letters, digits, - and _"),
        ("[models]\nm = 'mini-sd2'", "unknown embedded model 'mini-sd2'; did you mean 'mini-sd1'?"),
        ("[models]\nm = 3", "recipe.toml: models.m: expected"),
        ("[models]\nm = { file = 'f', sha256 = 'abc' }", "models.m: sha256 = 'abc': give all 64"),
        ("[machine]\ndevice = 'gpu'", "recipe.toml: machine.device: unknown value 'gpu'"),
        ("[machine]\nthreads = -1", "recipe.toml: machine: threads = -1: give 0"),
        ("[draw.a]\n[draw.a]", "recipe.toml: not TOML: "),
        ("[models]\nx = 'mini-sd1'\n[blend.x]\nformula = 'x'", "duplicate model 'x': both models.x and blend.x"),
    ],
)
def test_a_mistake_is_named(recipe, text, message):
    assert message in refusal(recipe, text)


def test_every_mistake_is_told_at_once(recipe):
    said = refusal(recipe, "[draw.a]\ncount = 'x'\ninc = 1\n[draw.b]\nsize = 3\n[machine]\ncores = 2\n[wrong]")
    assert [line.removeprefix("recipe.toml: ").partition(":")[0] for line in said.splitlines()] == [
        "unknown table 'wrong'; known",
        "machine",
        "draw.a.count",
        "draw.a",
        "draw.b.size",
    ]


def test_a_file_that_is_no_recipe(tmp_path):
    for name, content, message in (
        ("none.toml", None, "there is no such recipe"),
        ("binary.toml", b"\xff\xfe\x00", "not a recipe"),
        ("words.toml", b"a recipe", "not TOML"),
        ("empty.toml", b"", "the key 'name' is missing"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(Refused, match=message):
            read(path, kinds=pretend.KINDS)
    with pytest.raises(Refused, match="not a recipe"):
        read(tmp_path, kinds=pretend.KINDS)


MINI = """
[models]
big = { file = "big.safetensors" }
[draw.a]
count = 1000
size = [64, 64]
source = "dump.db"
[mini.models]
big = "mini-sd1"
[mini.draw.a]
unset = ["source"]
count = 2
[mini.draw.b]
"""


def test_the_miniature_is_laid_over(recipe):
    whole, small = recipe(MINI), recipe(MINI, mini=True)
    assert whole.stages["draw.a"].config.count == 1000
    assert whole.stages["draw.a"].config.source == str(whole.path.parent / "dump.db")
    assert small.stages["draw.a"].config == pretend.DrawConfig(count=2, size=(64, 64))
    assert list(small.stages) == ["draw.a", "draw.b"]
    assert small.models["big"].file.name == "mini-sd1.safetensors"


def test_the_miniature_must_be_there_and_drop_what_is_there(recipe):
    assert "no table [mini]" in refusal(recipe, "[draw.a]", mini=True)
    text = "[draw.a]\n[mini.draw.a]\nunset = ['source']"
    assert "mini.draw.a.unset: there is no 'source' to drop" in refusal(recipe, text, mini=True)
    text = "[draw.a]\n[mini.draw.a]\nunset = 'source'"
    assert "mini.draw.a.unset: expected a list of keys to drop, got 'source'" in refusal(recipe, text, mini=True)


def test_the_mark_that_some_editors_begin_a_file_with_is_passed_over(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text("[recipe]\nname = 'r'\n[draw.a]\n", encoding="utf-8-sig")
    assert list(read(path, kinds=pretend.KINDS).stages) == ["draw.a"]


def test_settings_of_the_command_line(recipe):
    text = "[draw.a]\n[bake.b]\nstart = 'm'\nphases = [{ rate = 1.0 }, { rate = 2.0 }]\n[models]\nm = 'mini-sd1'"
    changes = (
        "draw.a.count=5",
        "recipe.seed = 3",
        "draw.a.paper=cream",
        "bake.b.phases.1.rate=0.5",
        "draw.a.size=[1,2]",
    )
    found = recipe(text, settings=changes)
    assert found.stages["draw.a"].config == pretend.DrawConfig(count=5, seed=3, paper="cream", size=(1, 2))
    assert [phase.rate for phase in found.stages["bake.b"].config.phases] == [1.0, 0.5]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("draw.a.count", "write it as TABLE.KEY=VALUE"),
        ("=3", "write it as TABLE.KEY=VALUE"),
        ("draw.a.count.x=3", "'x' lies below a value that is no table"),
        ("bake.b.phases.2.rate=1", "'2' is not one of the 1 places"),
        ("draw.a.cuont=3", "did you mean 'count'?"),
        (
            "bake.bb.phases.0.rate=1",
            "recipe.toml: --set bake.bb.phases.0.rate=1: unknown stage 'bake.bb'; did you mean",
        ),
        ("look.l.models=['m']", "unknown stage 'look.l'; known: bake.b, draw.a"),
    ],
)
def test_a_setting_that_fits_nowhere(recipe, setting, message):
    text = "[draw.a]\ncount = 1\n[bake.b]\nstart = 'm'\nphases = [{ rate = 1.0 }]\n[models]\nm = 'mini-sd1'"
    assert message in refusal(recipe, text, settings=(setting,))


def test_a_setting_below_a_value_that_should_be_stages(recipe):
    assert "unknown stage 'draw.a'; known: none" in refusal(recipe, "[look]", settings=("look=3", "draw.a.count=1"))


def test_the_real_kinds_lead_somewhere():
    for kind, traits in KINDS.items():
        for place in (traits.config, traits.run, *(place for _, place in traits.lends)):
            assert load(place), f"{kind}: {place}"


def test_a_name_above_all_tables_is_answered_with_its_place(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('name = "r"\n[posts.p]\nsource = "x"\n')
    with pytest.raises(Refused, match=r"name = 'r' stands alone; it belongs below \[recipe\]"):
        read(path, kinds=KINDS)
