"""Every method against its plain float64 reference, on tensors of 1 to some hundred elements, whatever the pieces."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from enogu.core.records.errors import Refused
from enogu.merge import stage
from enogu.merge.config import MergeConfig
from enogu.merge.engine import Engine
from enogu.merge.lowrank import strongest
from enogu.merge.method import Space, catalogue
from enogu.merge.plan import make_plan
from enogu.merge.syntax import Call, parse
from tests.merge import pico
from tests.merge.references import CASES
from tests.merge.references import mixed_by_cosine as cosine

RANDOM = {"dare", "della"}  # their references are chances, tested below
OVER_ALL = {"cosine_a", "cosine_b"}  # their references see all tensors at once
SHAPES = [(), (1,), (3,), (200,), (7, 5), (16, 40), (1, 9), (4, 3, 3, 3)]
KEYS = {f"model.diffusion_model.middle_block.0.x{i}": shape for i, shape in enumerate(SHAPES)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Four models near a common base, as fine-tunes are, with some elements equal."""
    models = {}
    base = {key: np.random.default_rng(i).standard_normal(shape) for i, (key, shape) in enumerate(KEYS.items())}
    for number, name in enumerate("abcd"):
        rng = np.random.default_rng(100 + number)
        moved = {key: value + 0.3 * rng.standard_normal(value.shape) for key, value in base.items()}
        models[name] = {key: torch.tensor(value, dtype=torch.float32) for key, value in moved.items()}
    return pico.write(tmp_path_factory.mktemp("methods"), **models)


def run(formula: str, files: dict[str, Path], out: Path, engine: Engine, **options: str) -> dict[str, torch.Tensor]:
    plan = make_plan(MergeConfig(formula=formula, **options), stage.read_headers(files))
    engine.run(plan, files, out)
    return safetensors.torch.load_file(out)


def methods_of(formula: str) -> set[str]:
    return {item.method for item in parse(formula).walk() if isinstance(item, Call)}


def test_every_method_has_a_reference_and_a_source() -> None:
    assert set.union(*map(methods_of, CASES)) | RANDOM | OVER_ALL == catalogue().keys()
    for method in catalogue().values():
        assert method.summary.endswith((".", ").")), method.name
        assert len(method.summary) <= 120


def test_every_method_is_in_the_docs_with_its_options() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "merge-methods.md").read_text(encoding="utf-8")
    for method in catalogue().values():
        (row,) = (line for line in docs.splitlines() if line.startswith(f"| `{method.name}("))
        assert method.summary in row.replace("\\|", "|")
        assert all(f"{slot.name}" in row for slot in method.slots)
        assert all(f"{name}=" in row for name in method.options)


@pytest.mark.parametrize("formula", CASES)
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 2e-5), ("fp64", 1e-6)])
def test_methods_equal_their_references(
    formula: str, precision: str, tolerance: float, files: dict[str, Path], tmp_path: Path
) -> None:
    found = run(formula, files, tmp_path / "out", Engine(piece=11), precision=precision)
    inputs = [safetensors.torch.load_file(path) for path in files.values()]
    for key in KEYS:
        arrays = [model[key].double().numpy() for model in inputs]
        with np.errstate(all="ignore"):
            expected = CASES[formula](*arrays)
        np.testing.assert_allclose(found[key].double().numpy(), expected, rtol=tolerance, atol=tolerance, err_msg=key)


COUNTING = {"breadcrumbs", "ties", "ties_soup", "sce", "k_sigma", "ram", "ram_plus", "top_k_sum", "nearswap"}


@pytest.mark.parametrize("formula", [formula for formula in CASES if methods_of(formula) & COUNTING])
def test_what_counts_elements_is_right_for_1_to_200_of_them(formula: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    sizes = {f"model.diffusion_model.middle_block.0.x{n:03d}": n for n in range(1, 201)}
    models = {name: {key: torch.tensor(rng.standard_normal(n)) for key, n in sizes.items()} for name in "abcd"}
    found = run(formula, pico.write(tmp_path, **models), tmp_path / "out", Engine(), precision="fp64")
    for key in sizes:
        expected = CASES[formula](*(model[key].numpy() for model in models.values()))
        np.testing.assert_allclose(found[key].numpy(), expected, rtol=1e-6, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("kind", ["a", "b"])
def test_cosine_takes_its_range_over_all_tensors(kind: str, files: dict[str, Path], tmp_path: Path) -> None:
    found = run(f"cosine_{kind}(a, b, 0.2)", files, tmp_path / "out", Engine(piece=11, memory=1 << 10))
    a, b = (safetensors.torch.load_file(files[name]) for name in "ab")
    expected = cosine({k: v.double().numpy() for k, v in a.items()}, {k: v.double().numpy() for k, v in b.items()},
                      alpha=0.2, kind=kind)  # fmt: skip
    for key in KEYS:
        np.testing.assert_allclose(found[key].double().numpy(), expected[key], rtol=1e-6, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("formula", [*CASES, *(f"{name}(a, b)" for name in sorted(RANDOM | OVER_ALL))])
def test_no_cut_into_pieces_and_no_thread_changes_a_byte(formula: str, files: dict[str, Path], tmp_path: Path) -> None:
    hashes = set()
    small = 1 << 10  # bytes in memory at once: tensors are measured in passes, slabs hold a few dozen elements
    for engine in (Engine(threads=1), Engine(threads=2, piece=7, memory=small), Engine(threads=8, piece=64)):
        run(formula, files, tmp_path / "out", engine)
        hashes.add(hashlib.sha256((tmp_path / "out").read_bytes()).hexdigest())
    assert len(hashes) == 1


@pytest.mark.parametrize("name", [name for name, method in catalogue().items() if method.slots[-1].many])
def test_the_order_of_a_list_never_changes_a_byte(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    for number, models in enumerate(("b, c, d", "d, b, c", "c, d, b")):
        run(f"{name}(a, {models})", files, tmp_path / str(number), Engine(), vae="a", text="a")
    assert len({(tmp_path / str(number)).read_bytes() for number in range(3)}) == 1


@pytest.mark.parametrize(
    "formulas",
    [
        ("0.25*a + 0.25*b + 0.5*c", "0.5*c + 0.25*b + 0.25*a"),
        ("a + 0.3*(b - c)", "0.3*b - 0.3*c + a"),
        ("slerp(a, b, 0.5) + 0.1*(c - d)", "0.1*(c - d) + slerp(a, b, 0.5)"),
    ],
)
def test_the_order_of_a_sum_never_changes_a_byte(
    formulas: tuple[str, str], files: dict[str, Path], tmp_path: Path
) -> None:
    for number, text in enumerate(formulas):
        run(text, files, tmp_path / str(number), Engine(), vae="a", text="a")
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


@pytest.mark.parametrize("name", catalogue())
def test_merging_a_model_with_itself_gives_it_back(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    method = catalogue()[name]
    twin = tmp_path / "twin.safetensors"
    twin.write_bytes(files["a"].read_bytes())
    if method.returns is Space.DELTA:
        formula = f"{name}(a, [twin, a])" if method.slots[0].many else f"a + {name}(twin - a)"
    else:
        formula = f"{name}(a, {', '.join(['twin'] * max(len(method.slots) - 1, 1))})"
    found = run(formula, {**files, "twin": twin}, tmp_path / "out", Engine())
    same = safetensors.torch.load_file(files["a"])
    for key in KEYS:
        torch.testing.assert_close(found[key], same[key], rtol=1e-5, atol=1e-5)


def _drawn(formula: str, tmp_path: Path, rows: int = 64, columns: int = 500, **options: int) -> torch.Tensor:
    key = "model.diffusion_model.middle_block.0.x"
    generator = torch.Generator().manual_seed(0)
    ones = torch.randn(rows, columns, generator=generator)
    files = pico.write(tmp_path, base={key: torch.zeros(rows, columns)}, a={key: ones}, b={key: ones.flip(0)})
    plan = make_plan(MergeConfig(formula=formula, **options), stage.read_headers(files))
    Engine(piece=999).run(plan, files, tmp_path / "out")
    return safetensors.torch.load_file(tmp_path / "out")[key] / ones


def test_dare_drops_its_share_and_keeps_the_mean(tmp_path: Path) -> None:
    share = _drawn("dare(base, a, drop=0.7)", tmp_path)
    assert (share != 0).double().mean() == pytest.approx(0.3, abs=0.01)
    assert share[share != 0].numpy() == pytest.approx(1 / 0.3, rel=1e-4)  # chances have 16 bits
    kept = _drawn("dare(base, a, drop=0.7, rescale=0)", tmp_path)
    assert torch.equal(kept != 0, share != 0)
    assert kept[kept != 0].numpy() == pytest.approx(1.0)
    assert not torch.equal(share, _drawn("dare(base, a, drop=0.7)", tmp_path, seed=1))


def test_dare_draws_for_each_model_on_its_own(tmp_path: Path) -> None:
    alone = _drawn("dare(base, a, drop=0.5)", tmp_path) != 0
    generator = torch.Generator().manual_seed(0)
    mirrored = torch.randn(64, 500, generator=generator).flip(0)
    other = (_drawn("dare(base, b, drop=0.5)", tmp_path) * mirrored.flip(0) / mirrored) != 0
    assert (alone == other).double().mean() == pytest.approx(0.5, abs=0.02)


def test_della_drops_small_elements_sooner(tmp_path: Path) -> None:
    share = _drawn("della(base, a, drop=0.5, epsilon=0.6, rescale=0)", tmp_path)
    generator = torch.Generator().manual_seed(0)
    ranks = torch.randn(64, 500, generator=generator).abs().argsort(1).argsort(1)
    for low, high, chance in ((0, 100, 0.26), (200, 300, 0.5), (400, 500, 0.74)):
        band = (ranks >= low) & (ranks < high)
        assert (share != 0)[band].double().mean() == pytest.approx(chance, abs=0.02)


@pytest.mark.parametrize(
    "formula",
    [
        "dare(a, b, drop=1)",
        "della(a, b, drop=0.9, epsilon=0.4)",
        "breadcrumbs(a, b, keep=1, outliers=0.5)",
        "ties(a, b, vote='x')",
        "subtract(a, b, 1)",
        "nuslerp(a, b, per='x')",
    ],
)
def test_options_that_mean_nothing_are_refused(formula: str, files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(Refused):
        run(formula, files, tmp_path / "out", Engine())
    assert list(tmp_path.iterdir()) == []


def test_the_vote_of_ties_is_what_its_option_says(tmp_path: Path) -> None:
    key = "model.diffusion_model.middle_block.0.x"
    values = {"base": 0.0, "a": 5.0, "b": -1.0, "c": -1.5}
    files = pico.write(tmp_path, **{name: {key: torch.tensor([value])} for name, value in values.items()})
    for vote, expected in (("mass", 5.0), ("count", -1.25)):
        plan = make_plan(MergeConfig(formula=f"ties(base, a, b, c, vote='{vote}')"), stage.read_headers(files))
        Engine().run(plan, files, tmp_path / "out")
        assert float(safetensors.torch.load_file(tmp_path / "out")[key]) == expected


def test_a_randomised_svd_comes_near_the_best_of_its_rank() -> None:
    generator = torch.Generator().manual_seed(0)
    decay = torch.linspace(0, 6, 300).exp().reciprocal()
    u, v = (torch.linalg.qr(torch.randn(n, 300, generator=generator, dtype=torch.float64)).Q for n in (400, 300))
    matrix = (u * decay) @ v.T
    left, sigma, right = strongest(matrix, 16)
    assert float((matrix - (left * sigma) @ right).norm()) < 1.02 * float(decay[16:].norm())
    assert all(torch.equal(x, y) for x, y in zip((left, sigma, right), strongest(matrix, 16), strict=True))
