"""Each number of a list of block weights hits the tensors that its convention says."""

import pytest

from enogu.core.records.errors import Refused
from enogu.merge.blocks import block_names, block_weights
from enogu.merge.cautions import slip
from enogu.merge.presets import PRESETS, preset
from tests.merge import pico

NAMES = block_names(pico.tensors(0))
AOM2 = [1, 0.9, 0.7, 0.5, 0.3, 0.1, *[1] * 6, *[0] * 7, 0.1, 0.3, 0.5, 0.7, 0.9, 1]
MYNE_FACTORY = [1, 0.9, 0.7, 0.5, 0.3, 0.1, *[1] * 6, *[0] * 8, 1, 0.3, 0.5, 0.7, 0.9, 1]


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
    assert preset("SMOOTHSTEP", 25)[6] == pytest.approx(3 / 16 - 2 / 64)
