"""`enogu merge` as a maker meets it: exit status, plan, and nothing overwritten."""

import json
from pathlib import Path

import pytest

from enogu.cli import main
from enogu.core.networks.header import read_header
from enogu.core.records.files import held
from tests.merge import pico


@pytest.fixture
def bound(tmp_path: Path) -> list[str]:
    files = pico.write(tmp_path, a=pico.tensors(0), b=pico.tensors(1))
    return [f"{name}={path}" for name, path in files.items()]


def test_a_plan_says_what_becomes_of_each_part_and_writes_nothing(
    bound: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    assert main(["merge", "mbw(a, b, 'GRAD_V', base=0.25)", *bound, "--plan"]) == 0
    shown = capsys.readouterr().out
    assert "UNet: M00: 1 copied from a (the formula takes it as it is)" in shown
    assert "text encoder: 1 merged as 0.75*a + 0.25*b" in shown
    assert "VAE: 1 copied from a (policy: first)" in shown
    assert "IN06, OUT05: 2 merged as 0.5*a + 0.5*b" in shown
    assert sorted(tmp_path.iterdir()) == before


def test_a_plan_tells_of_a_model_that_is_not_named(bound: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", "a", *bound, "--plan"]) == 0
    assert "b is bound to a file, but the formula does not name it" in capsys.readouterr().out
    assert main(["merge", "a", *bound, "--plan", "--vae", "b"]) == 0
    assert "does not name it" not in capsys.readouterr().out


def test_a_plan_as_json_lists_every_tensor(bound: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", "0.5*a + 0.5*b", *bound, "--plan", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert {row["key"] for row in plan["keys"]} == pico.tensors(0).keys()
    assert {row["action"] for row in plan["keys"]} == {"merged", "copied"}


def test_a_merge_is_written_once(bound: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.safetensors"
    (tmp_path / "formula.txt").write_text("\ufeff0.5*a\r\n+ 0.5*b  # half")
    arguments = ["merge", f"@{tmp_path / 'formula.txt'}", *bound, "-o", str(out), "--dtype", "bf16"]
    assert main(arguments) == 0
    assert read_header(out).tensors[pico.MIDDLE].dtype == "BF16"
    before = out.read_bytes()
    assert main(arguments) == 2
    assert "exists" in capsys.readouterr().err
    assert out.read_bytes() == before
    out.rename(tmp_path / "kept.safetensors")
    out.symlink_to(tmp_path / "nowhere")
    assert main(arguments) == 2
    assert out.is_symlink()
    out.unlink()
    with held(out.with_name(f".{out.name}.0123abcd.part")):
        assert main(arguments) == 2
    assert "is being written by another program" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a + b", "-o", "x.safetensors"], "sum to 2"),
        (["a", "b=again", "-o", "x"], "bind each model once"),
        (["a", "c", "-o", "x"], "NAME=FILE"),
        (["a"], "-o OUT"),
        (["a", "-o", "x.ckpt"], "-o x.ckpt.safetensors"),
        (["a", "c=", "--plan"], "bind each model once"),
        (["0.5*x + 0.5*y", "--plan"], "unknown model 'x'; known: a, b"),
        (["mean('x')", "--plan"], "unknown model 'x'; known: a, b"),
        (["mean()", "--plan"], "names no model"),
        (["0.5*a + 0.5*c", "c=missing", "--plan"], "missing: No such file"),
        (["@missing", "-o", "x"], "missing: No such file"),
    ],
)
def test_mistakes_are_refused_without_a_traceback(
    bound: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["merge", arguments[0], *bound, *arguments[1:]]) == 2
    assert says in capsys.readouterr().err


def test_a_file_without_a_name_is_answered_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pico.write(tmp_path, **{"my model": pico.tensors(0)})["my model"]
    assert main(["merge", "a", str(path), "--plan"]) == 2
    assert capsys.readouterr().err.rstrip().endswith(f"bind each model once, as NAME=FILE: 'my model={path}'")


def test_a_plan_lists_what_each_block_weight_hits(bound: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    formula = "mbw(a, b, [0.5, " + ", ".join(["0.25"] * 25) + "], rules=':no_such_word:1')"
    assert main(["merge", formula, *bound, "--plan", "--json"]) == 0
    hits = {hit["slot"]: hit for hit in json.loads(capsys.readouterr().out)["block_weights"]}
    assert (hits["BASE"]["tensors"], hits["BASE"]["elements"], hits["BASE"]["number"]) == (1, 17, 0.5)
    assert (hits["IN00"]["tensors"], hits["IN00"]["where"]) == (2, ["input_blocks.0", "time_embed"])
    assert hits["OUT11"]["tensors"] == 2
    assert hits["rule :no_such_word:1"]["tensors"] == 0
    assert main(["merge", formula, *bound, "--plan"]) == 0
    assert "hits nothing" in capsys.readouterr().out


def test_a_plan_warns_of_strangers_and_of_parts_that_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, c = pico.tensors(0), pico.tensors(2)
    b = {key: value + (0.01 * c[key] if value.is_floating_point() else 0) for key, value in a.items()}
    b[pico.VAE] = a[pico.VAE]
    files = pico.write(tmp_path, a=a, b=b, c=c)
    bound = [f"{name}={path}" for name, path in files.items()]
    assert main(["merge", "0.5*a + 0.5*b", *bound, "--plan"]) == 0
    shown = capsys.readouterr().out
    assert "stranger" not in shown
    assert "VAEs" not in shown
    assert main(["merge", "a + 0.5*(b - c)", *bound, "--plan"]) == 0
    shown = capsys.readouterr().out
    assert "c does not look like the ancestor of" in shown
    assert "the VAEs of a and c differ; the result has that of a" in shown
    assert main(["merge", "0.5*a + 0.5*c", *bound, "--plan", "--vae", "formula"]) == 0
    shown = capsys.readouterr().out
    assert "a and c look like strangers" in shown
    assert "two blended VAEs are seldom one good VAE" in shown


def test_a_plan_tells_of_one_model_under_two_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = pico.write(tmp_path, a=pico.tensors(0), b=pico.tensors(1), twin=pico.tensors(0), base=pico.tensors(2))
    bound = [f"{name}={path}" for name, path in files.items()]
    for formula in ("mean(a, b, twin)", "ties(base, a, b, twin)"):
        assert main(["merge", formula, *bound, "--plan"]) == 0
        assert "a, twin look the same: one model counts 2 times" in capsys.readouterr().out
    for formula in ("0.5*a + 0.5*b", "a.unet + twin.te", "base + (a - twin)"):
        assert main(["merge", formula, *bound, "--plan"]) == 0
        assert "one model counts" not in capsys.readouterr().out


def test_a_plan_warns_of_a_rule_that_hits_nothing(bound: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", "mbw(a, b, 0.5, rules='M00:attn2:0.5,IN04 M00::0.2')", *bound, "--plan"]) == 0
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert [line for line in warnings if "rule" in line] == ["warning: the rule 'M00:attn2:0.5' hits no tensor"]


def test_a_plan_warns_of_a_base_in_its_own_list(bound: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for formula, warned in (
        ("ties(a, [a, b])", 1),
        ("dare(a, '*')", 1),
        ("ties(a, b)", 0),
        ("ties(0.5*a + 0.5*b, b, b)", 0),
        ("d = b - a; a + ties(d, d)", 0),
    ):
        assert main(["merge", formula, *bound, "--plan"]) == 0
        assert capsys.readouterr().out.count("its base a is in its list") == warned, formula


def test_a_plan_warns_of_steps_without_use(bound: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", "d = b - a; e = 0.5*d; f = 2*d; a + e", *bound, "--plan"]) == 0
    shown = capsys.readouterr().out
    assert "warning: the step 'f' is not used" in shown
    assert shown.count("is not used") == 1
