"""Mistakes in a recipe: each is refused before any work, by name, in lines that a maker can act on."""

import pytest

from enogu.cli import main

HEAD = '[recipe]\nname = "r"\n'
CASES = {
    "unknown key": ("[booru.b]\npost = 3", "booru.b: unknown key 'post'; did you mean 'posts'?"),
    "unknown key in a table inside": (
        '[booru.b]\n[posts.p]\nbooru = "b"\nwhere = { ratings = ["general"] }',
        "posts.p.where: unknown key 'ratings'; did you mean 'rating'?",
    ),
    "unknown kind": ("[boorus.b]", "unknown table 'boorus'; did you mean 'booru'?"),
    "wrong type": ('[booru.b]\nposts = "many"', "booru.b.posts: expected a whole number, got 'many'"),
    "true for a number": ("[booru.b]\nposts = true", "booru.b.posts: expected a whole number, got True"),
    "wrong type in a list": (
        "[booru.b]\nlong_side = [64, 'x']",
        "booru.b.long_side[1]: expected a whole number, got 'x'",
    ),
    "too short a list": ("[booru.b]\nlong_side = [64]", "booru.b.long_side: expected 2 values, got 1"),
    "a value that cannot be": ("[booru.b]\nposts = 0", "booru.b: posts = 0: a booru has at least one post"),
    "a stage without a name": (
        "[booru]\nposts = 3",
        "booru.posts: expected a table; stages are named, as in [booru.NAME]",
    ),
    "a name that is a path": ('[booru."../b"]', "booru: the name '../b' may hold only letters, digits, - and _"),
    "a missing key": ("[captions.c]", "captions.c: the key 'posts' is missing; expected a string"),
    "a missing stage": (
        '[captions.c]\nposts = "p"',
        "captions.c.posts: unknown posts stage or tagged stage 'p'; known: none",
    ),
    "a stage of another kind": (
        '[booru.b]\n[captions.c]\nposts = "b"',
        "captions.c.posts: 'b' is the stage booru.b; expected a posts stage",
    ),
    "a missing model": (
        '[merge.m]\nformula = "0.5*a + 0.5*b"',
        "merge.m.models: unknown model 'a'; known: m, mini-sd1",
    ),
    "a family that is none": (
        '[vae.v]\nfamily = "mini-sd2"',
        "vae.v: unknown family 'mini-sd2'; did you mean 'mini-sd1'?",
    ),
    "a broken formula": ('[merge.m]\nformula = "0.5*"', "merge.m: "),
    "a sum that is no model, of one that is not made yet": (
        '[models]\na = "mini-sd1"\n[merge.half]\nformula = "mean(a, a)"\n[merge.m]\nformula = "a + half"',
        "merge.m: formula, line 1: the coefficients of a + half sum to 2, not to 1",
    ),
    "a cycle": (
        '[merge.a]\nformula = "b"\n[merge.b]\nformula = "c"\n[merge.c]\nformula = "a"',
        "the stages read each other in a circle: ",
    ),
    "a stage that reads itself": (
        '[merge.a]\nformula = "a"',
        "the stages read each other in a circle: merge.a -> merge.a",
    ),
    "a missing file": ('[models]\na = { file = "a.safetensors" }\n[merge.m]\nformula = "a"', "there is no such file"),
    "a missing dump": ('[posts.p]\nsource = "posts.jsonl"', "posts.jsonl: there is no such file"),
    "no stage": ('[models]\na = "mini-sd1"', "it has no stage; a stage is a table [KIND.NAME]"),
    "a checkpoint on the way of a model from elsewhere": (
        '[models]\na = "mini-sd1"\n[merge.m]\nformula = "a@3"',
        "merge.m.models: 'a@3': a keeps no checkpoints on the way; say 'a'",
    ),
    "not TOML": ("[booru.b\n", "not TOML: "),
    "TOML that says a thing twice": ("[booru.b]\n[booru.b]\n", "not TOML: "),
}


@pytest.mark.parametrize("verb", ["plan", "run"])
@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_refused_by_name(case, verb, tmp_path, capsys):
    text, said = CASES[case]
    path = tmp_path / "r.toml"
    path.write_text(HEAD + text)
    assert main([verb, str(path)]) == 2
    err = capsys.readouterr().err
    assert all(line.startswith("enogu: r.toml: ") for line in err.splitlines()), err
    assert said in err
    assert list(tmp_path.iterdir()) == [path]


def test_every_mistake_is_told_at_once(tmp_path, capsys):
    path = tmp_path / "r.toml"
    path.write_text('[recipe]\nnam = "r"\n[booru.b]\nposts = "x"\nnovel = 2\n[captions.c]\npost = "p"\n')
    assert main(["run", str(path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert [line.split(": ")[2] for line in lines] == ["recipe", "recipe", "booru.b.posts", "captions.c", "captions.c"]


@pytest.mark.parametrize("name", ["none.toml", "."])
def test_no_recipe(name, tmp_path, capsys):
    assert main(["run", str(tmp_path / name)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_recipe_that_is_no_text(tmp_path, capsys):
    path = tmp_path / "r.toml"
    path.write_bytes(b"\xff\xfe\x00")
    assert main(["run", str(path)]) == 2
    assert capsys.readouterr().err == f"enogu: {path}: not a recipe; give a TOML file in UTF-8\n"


def test_a_model_that_is_not_what_the_recipe_says(tmp_path, capsys):
    path = tmp_path / "r.toml"
    (tmp_path / "a.safetensors").write_bytes(b"no checkpoint")
    path.write_text(
        f'{HEAD}[models]\na = {{ file = "a.safetensors", sha256 = "{"0" * 64}" }}\n[merge.m]\nformula = "a"'
    )
    assert main(["run", str(path)]) == 2
    assert "its sha256 is " in capsys.readouterr().err


def test_a_model_that_is_no_checkpoint_is_refused_before_work(tmp_path, capsys):
    path = tmp_path / "r.toml"
    (tmp_path / "a.safetensors").write_bytes(b"no checkpoint at all")
    path.write_text(f'{HEAD}[models]\na = {{ file = "a.safetensors" }}\n[merge.m]\nformula = "a"')
    assert main(["run", str(path)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("enogu: r.toml: merge.m: ")
    assert "a.safetensors" in said[-1]


def test_a_work_folder_that_is_a_file(tmp_path, capsys):
    path = tmp_path / "r.toml"
    path.write_text(HEAD + "[booru.b]\nposts = 1")
    (tmp_path / "work").write_text("")
    for verb in ("plan", "run"):
        assert main([verb, str(path), "--work", str(tmp_path / "work")]) == 2
        remedy = "a file; give the work folder, or a name for a new one"
        assert capsys.readouterr().err == f"enogu: --work {tmp_path / 'work'}: {remedy}\n"


def test_a_merge_of_a_checkpoint_on_the_way_is_planned_before_there_is_one(tmp_path, capsys):
    stages = """
[models]
base = "mini-sd1"
[booru.b]
posts = 8
[posts.p]
booru = "b"
[captions.c]
posts = "p"
[latents.l]
posts = "p"
model = "base"
[train.tuned]
start = "base"
latents = ["l"]
captions = "c"
phases = [{ epochs = 2, lr = { unet = 1e-4 } }]
[merge.m]
formula = "SUM"
"""
    path = tmp_path / "r.toml"
    path.write_text(HEAD + stages.replace("SUM", "0.5*base + 0.5*tuned@8"))
    assert main(["plan", str(path)]) == 0
    path.write_text(HEAD + stages.replace("SUM", "base + tuned@8"))
    assert main(["plan", str(path)]) == 2
    assert "sum to 2, not to 1" in capsys.readouterr().err
