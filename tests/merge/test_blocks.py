"""Each number of a list of block weights hits the tensors that its convention says."""

from collections import Counter

import pytest

from enogu.core.networks.layouts import layout
from enogu.core.records.errors import Refused
from enogu.merge.blocks import block_names, block_weights, slots
from enogu.merge.cautions import misread_weights, slip
from enogu.merge.presets import PRESETS, preset
from enogu.merge.rules import read_rules
from enogu.merge.syntax import parse
from tests.merge import pico

NAMES = block_names(pico.tensors(0))
AOM2 = [1, 0.9, 0.7, 0.5, 0.3, 0.1, *[1] * 6, *[0] * 7, 0.1, 0.3, 0.5, 0.7, 0.9, 1]
MYNE_FACTORY = [1, 0.9, 0.7, 0.5, 0.3, 0.1, *[1] * 6, *[0] * 8, 1, 0.3, 0.5, 0.7, 0.9, 1]


COMFY_SD1 = ["TIME", "LABEL", *(f"IN{i:02d}" for i in range(12)), "M00.0", "M00.1", "M00.2"]
COMFY_SD1 += [*(f"OUT{i:02d}" for i in range(12)), "HEAD"]
KOHAKU = [0, 0.1, 0.1, 0, 0.1, 0.1, 0, 0.1, 0.1, *[0] * 5, *[0.05] * 6]


def keys_of(family: str) -> tuple[str, ...]:
    return tuple(layout(family).shapes)


def counted(family: str, **options: str) -> dict[str, int]:
    """Return how many tensors of a family's UNet each slot takes."""
    keys, names = keys_of(family), block_names(keys_of(family))
    weights = block_weights("ALL_A", names, **options)
    return dict(Counter(weights.slot(key) for key in keys if key.startswith("model.diffusion_model.")))


def test_the_true_keys_of_sd1_fall_on_the_published_counts() -> None:
    found = counted("sd1")
    assert (found["IN00"], found["IN01"], found["IN03"], found["IN04"]) == (2 + 4, 36, 2, 38)
    assert (found["M00"], found["OUT02"], found["OUT05"], found["OUT11"]) == (46, 14, 40, 38 + 4)
    assert sum(found.values()) == 686


def test_the_true_keys_of_sdxl_fall_on_the_published_counts() -> None:
    found = counted("sdxl")
    assert (found["IN00"], found["IN04"], found["IN07"], found["IN08"]) == (2 + 4 + 4, 58, 218, 216)
    assert (found["M00"], found["OUT02"], found["OUT05"], found["OUT08"]) == (226, 220, 60, 12 + 4)
    assert sum(found.values()) == 1680
    assert counted("sdxl", convention="mecha")["BASE"] == 8


def test_comfy_has_its_own_sliders_and_counts_the_first_model() -> None:
    assert list(slots(NAMES, convention="comfy")) == COMFY_SD1
    weights = block_weights([i / 100 for i in range(30)], NAMES, convention="comfy")
    assert weights.at(pico.TIME) == 1.0
    assert weights.at(pico.MIDDLE) == pytest.approx(1.0 - 0.15)
    assert weights.at(pico.HEAD) == pytest.approx(1.0 - 0.29)
    assert weights.at(pico.TEXT) == weights.at(pico.VAE) == 0.0


def test_kohakus_list_is_read_in_both_orders_and_warned_of() -> None:
    names = block_names(keys_of("sdxl"))
    first = block_weights(KOHAKU, names).weights
    last = block_weights(KOHAKU, names, order="base-last").weights
    assert [name for name, value in first.items() if value == 0.05] == [f"OUT{i:02d}" for i in range(3, 9)]
    assert {last[name] for name in ("IN00", "IN03", "IN06", "M00")} == {0.0}
    assert last["BASE"] == 0.05
    (warning,) = misread_weights(parse(f"mbw(a, b, {KOHAKU})"))
    assert "order='base-last'" in warning
    assert not list(misread_weights(parse(f"mbw(a, b, {KOHAKU}, order='base-first')")))


def test_a_list_for_sd1_is_read_for_sdxl_when_asked() -> None:
    names = block_names(keys_of("sdxl"))
    cut = block_weights([float(i) for i in range(26)], names, fit="truncate").weights
    assert list(cut.values()) == [0, *range(1, 10), *range(13, 23)]
    drawn = block_weights("GRAD_V", names).weights
    same = block_weights([0, *preset("GRAD_V", 25)], names, fit="resample").weights
    assert list(same.values()) == pytest.approx(list(drawn.values()))


def test_rules_overrule_blocks_and_the_later_one_wins() -> None:
    rules = list(read_rules("OUT03-OUT05:attn:0.5, OUT04:attn2.to_k:0.2\nNOT IN M00 OUT BASE:NOT attn:1"))
    weights = block_weights("ALL_A", NAMES, rules=rules)
    stem = "model.diffusion_model.output_blocks.{}.1.transformer_blocks.0.attn2.to_{}.weight"
    assert [weights.at(stem.format(4, name)) for name in "kv"] == [0.2, 0.5]
    assert [weights.at(stem.format(i, "k")) for i in (2, 3, 6)] == [0.0, 0.5, 0.0]
    for broken in ("attn2:0.3", "OUT03:attn:x"):
        with pytest.raises(Refused, match="element rule"):
            list(read_rules(broken))
    with pytest.raises(Refused, match="unknown block 'OUT31'"):
        block_weights("ALL_A", NAMES, rules=list(read_rules("OUT31:attn:1")))


def test_names_are_those_of_sd1() -> None:
    assert list(NAMES) == ["BASE", *(f"IN{i:02d}" for i in range(12)), "M00", *(f"OUT{i:02d}" for i in range(12))]


def test_every_number_hits_its_block() -> None:
    weights = block_weights([float(i) for i in range(26)], NAMES, base=None, convention="webui")
    assert [weights.at(pico.unet(f"IN{i:02d}")) for i in range(12)] == list(range(1, 13))
    assert weights.at(pico.MIDDLE) == 13
    assert [weights.at(pico.unet(f"OUT{i:02d}")) for i in range(12)] == list(range(14, 26))
    assert weights.at(pico.TEXT) == weights.at(pico.VAE) == 0


@pytest.mark.parametrize(("convention", "time"), [("webui", 1.0), ("mecha", 0.0)])
def test_conventions_differ_where_they_are_known_to(convention: str, time: float) -> None:
    weights = block_weights([float(i) for i in range(26)], NAMES, base=None, convention=convention)
    assert weights.at(pico.TIME) == time
    assert weights.at(pico.HEAD) == 25.0


def test_twenty_five_numbers_leave_base_to_its_option() -> None:
    weights = block_weights([0.5] * 25, NAMES, base=0.25, convention="webui")
    assert weights.at(pico.TEXT) == 0.25
    assert block_weights([0.5] * 25, NAMES, base=None, convention="webui").at(pico.TEXT) == 0.0


def test_sdxl_takes_twenty_and_says_so_of_a_list_for_sd1() -> None:
    keys = [f"model.diffusion_model.{kind}_blocks.{i}.0.x" for kind in ("input", "output") for i in range(9)]
    names = block_names([*keys, "model.diffusion_model.middle_block.0.x"])
    assert len(names) == 20
    assert block_weights(list(range(20)), names, base=None, convention="webui").at(keys[-1]) == 19
    with pytest.raises(Refused, match=r"26 block weights; this family takes 20 .*no exact reading.*truncate.*resample"):
        block_weights([0.0] * 26, names, base=None, convention="webui")


def test_base_is_not_given_twice() -> None:
    with pytest.raises(Refused, match="not both"):
        block_weights([0.0] * 26, NAMES, base=0.5, convention="webui")


def test_the_slip_of_the_published_list_is_found_and_no_other() -> None:
    assert slip(MYNE_FACTORY) == AOM2
    assert slip([*range(26)]) is None
    assert slip([0, 1] * 13) is None


@pytest.mark.parametrize("count", [19, 25])
def test_presets_are_curves_within_their_models(count: int) -> None:
    for name in PRESETS:
        curve = preset(name, count)
        assert len(curve) == count
        assert all(0 <= value <= 1 for value in curve)


def test_presets_have_their_published_values() -> None:
    assert preset("GRAD_V", 25) == pytest.approx([abs(i - 12) / 12 for i in range(25)])
    assert preset("WRAP08", 25) == [1.0] * 4 + [0.0] * 17 + [1.0] * 4
    assert preset("WRAP16", 25) == [1.0] * 8 + [0.0] * 9 + [1.0] * 8
    assert preset("OUT07", 25) == [0.0] * 18 + [1.0] * 7
    assert preset("OUT12", 25) == [0.0] * 13 + [1.0] * 12
    assert preset("SMOOTHSTEP*3", 25)[10] == pytest.approx(0.871527777777778)
    assert preset("R_SMOOTHSTEP/4", 25)[1] == pytest.approx(0.925925925925926)
    assert preset("TRUE_CUBIC_HERMITE", 25)[1] == pytest.approx(0.199031876929012)
    assert preset("FAKE_CUBIC_HERMITE", 25)[1] == pytest.approx(0.157576195987654)
    assert preset("RING08_SOFT", 25)[5:10] == [0.5, 1, 1, 1, 0.5]
    assert preset("SMOOTHSTEP", 25)[6] == pytest.approx(3 / 16 - 2 / 64)
