"""A stage's folder is named by its settings and by all that it reads, and by nothing else."""

import pytest

from enogu.core.records.errors import Refused
from enogu.recipe.plan import plan
from enogu.recipe.reading import read

TEXT = """
[models]
m = { file = "m.safetensors" }
[draw.a]
count = 2
[read.r]
drawings = "a"
[bake.b]
start = "m"
phases = [{ rate = 1.0, drawings = "a" }]
[look.l]
models = ["m", "b"]
"""


@pytest.fixture(autouse=True)
def model(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"weights")
    return path


def hashes(found):
    return {id: task.hash for id, task in plan(found).tasks.items()}


def changed(recipe, old, new, text=TEXT, **options):
    """Return the stages whose hash a change of the recipe changes."""
    before = hashes(recipe(text))
    assert old in text
    after = hashes(recipe(text.replace(old, new), **options))
    return {id for id in before if before[id] != after.get(id)}


def test_a_setting_changes_its_stage_and_what_reads_it(recipe):
    assert changed(recipe, "count = 2", "count = 3") == {"draw.a", "read.r", "bake.b", "look.l"}
    assert changed(recipe, "rate = 1.0", "rate = 2.0") == {"bake.b", "look.l"}
    assert changed(recipe, 'models = ["m", "b"]', 'models = ["b", "m"]') == {"look.l"}


def test_what_cannot_change_a_result_changes_no_hash(recipe):
    assert changed(recipe, "count = 2", "# said\ncount = 2") == set()
    assert changed(recipe, "count = 2", "seed = 0\ncount = 2") == set()  # a default, spelt out
    assert changed(recipe, "[draw.a]", "[machine]\nthreads = 3\n[draw.a]") == set()
    assert changed(recipe, "rate = 1.0", "rate = 1") == set()


def test_the_name_of_a_single_reference_is_not_part_of_the_hash(recipe):
    renamed = TEXT.replace('"a"', '"z"').replace("draw.a", "draw.z")
    before, after = hashes(recipe(TEXT)), hashes(recipe(renamed))
    assert after["draw.z"] == before["draw.a"]
    assert after["read.r"] == before["read.r"]
    relabelled = (
        TEXT.replace('["m", "b"]', '["n", "b"]').replace("m = {", "n = {").replace('start = "m"', 'start = "n"')
    )
    after = hashes(recipe(relabelled))
    assert after["bake.b"] == before["bake.b"]
    assert after["look.l"] != before["look.l"]  # its output shows the names


def test_the_content_of_a_file_from_outside_is_part_of_the_hash(recipe, model):
    before = hashes(recipe(TEXT))
    model.write_bytes(b"others!")
    after = hashes(recipe(TEXT))
    assert {id for id in before if before[id] != after[id]} == {"bake.b", "look.l"}


def test_a_source_is_known_by_its_content_and_a_folder_by_its_name(recipe, tmp_path):
    text = "[draw.a]\nsource = 'dump'"
    with pytest.raises(Refused, match=r"draw\.a: .*dump: there is no such file"):
        plan(recipe(text))
    (tmp_path / "dump").write_text("one")
    first = hashes(recipe(text))
    (tmp_path / "dump").write_text("two")
    assert hashes(recipe(text)) != first
    (tmp_path / "dump").unlink()
    (tmp_path / "dump").mkdir()
    folder = hashes(recipe(text))
    (tmp_path / "dump" / "image").write_text("more")
    assert hashes(recipe(text)) == folder


def test_lists_and_tables_of_posts_lie_beside_the_recipe_and_count_by_content(tmp_path):
    path = tmp_path / "r.toml"
    lines = '[recipe]\nname = "r"\n[posts.a]\nsource = "dump.jsonl"\n'
    (tmp_path / "dump.jsonl").write_text("{}")
    path.write_text(lines)
    plain = hashes(read(path))
    for name in ("aliases", "implications", "opt_out"):
        path.write_text(f'{lines}{name} = "list"\n')
        with pytest.raises(Refused, match=r"r\.toml: posts\.a: .*list: there is no such file"):
            plan(read(path))
        (tmp_path / "list").write_text("1\n")
        first = hashes(read(path))
        (tmp_path / "list").write_text("1\n2\n")
        assert len({plain["posts.a"], first["posts.a"], hashes(read(path))["posts.a"]}) == 3
        (tmp_path / "list").unlink()


def test_words_of_captions_that_there_are_not_are_refused_before_any_work(tmp_path):
    path = tmp_path / "r.toml"
    lines = '[recipe]\nname = "r"\n[booru.a]\n[posts.b]\nbooru = "a"\n[captions.c]\nposts = "b"\n'
    path.write_text(lines + 'quality = "kohku"\n')
    with pytest.raises(Refused, match=r"r\.toml: captions\.c: .*captions\.quality 'kohku'; did you mean 'kohaku'"):
        plan(read(path))
    path.write_text(lines + 'rating = "kohku"\n')
    with pytest.raises(Refused, match=r"captions\.rating 'kohku'; did you mean 'kohaku'"):
        plan(read(path))
    path.write_text(lines + 'year = "mine"\nwords = "words.toml"\n')
    (tmp_path / "words.toml").write_text('[year.mine]\nof = "year"\nsteps = [{ word = "old" }]\n')
    assert plan(read(path))


def test_a_model_must_be_there_and_be_the_one(recipe, tmp_path):
    with pytest.raises(Refused, match=r"recipe\.toml: bake\.b: .*x\.safetensors: there is no such file"):
        plan(recipe("[models]\nx = { file = 'x.safetensors' }\n[bake.b]\nstart = 'x'"))
    pinned = "[models]\nm = { file = 'm.safetensors', sha256 = '" + "0" * 64 + "' }\n[bake.b]\nstart = 'm'"
    with pytest.raises(Refused, match=r"its sha256 is [0-9a-f]{64}, the recipe says 0{64}"):
        plan(recipe(pinned))


def test_a_folder_from_outside_stands_for_a_stage(recipe, tmp_path):
    folder = tmp_path / "eyes" / "mine"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"1")
    text = "[models]\nm = { file = 'm.safetensors' }\n[look.l]\nmodels = ['m']\neyes = 'eyes/mine'"
    found = plan(recipe(text))
    assert found.inputs("look.l")["eyes"] == {"eyes/mine": folder}
    (folder / "model.onnx").write_bytes(b"2")
    assert hashes(recipe(text)) != {id: task.hash for id, task in found.tasks.items()}


def test_folders_lie_beside_the_recipe_or_where_asked(recipe, tmp_path):
    found = plan(recipe("[draw.a]"))
    task = found.tasks["draw.a"]
    assert task.folder == tmp_path / "enogu-work" / "test" / f"draw-a-{task.hash[:8]}"
    assert not found.work.exists()  # nothing is run, nothing is written
    assert plan(recipe("[draw.a]"), tmp_path / "w").tasks["draw.a"].folder.parent == tmp_path / "w"
