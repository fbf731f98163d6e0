"""Layout tables have the counts and sizes of the real checkpoints, and files are recognised by them."""

import math
from collections import Counter

import pytest
import torch

from enogu.core.networks.family import families
from enogu.core.networks.header import Header, Spec, TensorInfo
from enogu.core.networks.header import layout as place_tensors
from enogu.core.networks.keys import place
from enogu.core.networks.layouts import find_layout, fits, layout, layouts
from enogu.core.networks.model import StableDiffusion

# (component, tensors, millions of parameters): counted in the released files
COUNTS = {
    "sd1": [("unet", 686, 859.52), ("te1", 196, 123.06), ("vae", 248, 83.65)],
    "sdxl": [("unet", 1680, 2567.46), ("te1", 196, 123.06), ("te2", 390, 694.66), ("vae", 248, 83.65)],
    "sd2": [("unet", 686, 865.91), ("vae", 248, 83.65)],
}
# tensors per block of the two UNets
SD1 = {
    "IN01": 36,
    "IN03": 2,
    "IN04": 38,
    "IN05": 36,
    "IN10": 10,
    "M00": 46,
    "OUT00": 12,
    "OUT02": 14,
    "OUT05": 40,
    "OUT11": 38,
}
SDXL = {
    "IN04": 58,
    "IN05": 56,
    "IN07": 218,
    "IN08": 216,
    "M00": 226,
    "OUT00": 218,
    "OUT02": 220,
    "OUT05": 60,
    "OUT08": 12,
}


def header(shapes: dict[str, tuple[int, ...]]) -> Header:
    infos: dict[str, TensorInfo] = place_tensors({key: Spec(torch.float16, shape) for key, shape in shapes.items()})
    return Header(infos, {}, 8)


@pytest.mark.parametrize("name", COUNTS)
def test_components_have_the_sizes_of_the_released_files(name: str) -> None:
    for component, tensors, millions in COUNTS[name]:
        part = layout(name).components[component]
        assert len(part) == tensors
        assert sum(map(math.prod, part.values())) / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize(("name", "blocks"), [("sd1", SD1), ("sdxl", SDXL)])
def test_blocks_have_the_tensors_of_the_released_files(name: str, blocks: dict[str, int]) -> None:
    counted = Counter(place(key).block for key in layout(name).components["unet"])
    assert {block: counted[block] for block in blocks} == blocks


@pytest.mark.parametrize("name", families())
def test_layouts_are_those_of_the_networks_here(name: str) -> None:
    with torch.device("meta"):
        model = StableDiffusion(families()[name])
    assert layout(name).shapes == {key: tuple(value.shape) for key, value in model.state_dict().items()}


@pytest.mark.parametrize("name", layouts())
def test_every_layout_is_recognised_whole_or_in_part(name: str) -> None:
    whole = layout(name)
    for shapes in (whole.shapes, dict(list(whole.shapes.items())[:-9]), whole.components["unet"]):
        found = find_layout(header({**shapes, "odd.key": (3,)}))
        assert found is not None
        assert found.name == name


def test_a_stranger_is_no_layout() -> None:
    assert find_layout(header({"transformer.h.0.weight": (3, 3)})) is None


def test_odd_keys_are_named_one_by_one() -> None:
    shapes = dict(layout("mini-sd1").shapes)
    lost, bent = list(shapes)[3], list(shapes)[10]
    del shapes[lost]
    shapes[bent] = (1,)
    (unet, *others) = fits(layout("mini-sd1"), header({**shapes, "model.diffusion_model.extra": (2,)}))
    assert (unet.missing, unet.misshapen, unet.unexpected) == ((lost,), (bent,), ("model.diffusion_model.extra",))
    assert [fit.component for fit in others] == ["te1", "vae"]
    assert not any(fit.missing or fit.misshapen or fit.unexpected for fit in others)
