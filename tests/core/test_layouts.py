"""Layout tables have the counts and sizes of the real checkpoints, and files are recognised by them."""

import hashlib
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
# (tensors, begin of the SHA-256 of the sorted lines "KEY [SHAPE]"): the key lists that sd-webui-model-toolkit took from
# the released files (components/*.txt at e19dd46), without position_ids
LISTS = {
    ("sd1", "unet"): (686, "81999d5b4292b045"),
    ("sd1-inpainting", "unet"): (686, "0eb12fa55d0e4f79"),
    ("sd1-pix2pix", "unet"): (686, "fb46e9f704cb093d"),
    ("sd2", "unet"): (686, "6ec9648adabdb5b6"),
    ("sd2-inpainting", "unet"): (686, "270704dfe3341035"),
    ("sd2-depth", "unet"): (686, "927e2d777aeb723d"),
    ("sdxl", "unet"): (1680, "d7a8d7ad0a01ad6c"),
    ("sdxl-refiner", "unet"): (1220, "8e703616118e0579"),
    ("sd1", "vae"): (248, "a0c24ae5e2efcfb4"),
    ("sd1", "te1"): (196, "60897f03b52c2eca"),
    ("sd2", "te1"): (294, "c406bbc7db25b5e2"),
    ("sdxl", "te2"): (390, "7a75be0d08f5b83f"),
}
# all tensors but position_ids, markers and schedules: sd-mecha's sd1-ldm.yaml and sdxl-sgm.yaml
TOTALS = {"sd1": 1130, "sdxl": 2514}
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


@pytest.mark.parametrize(("name", "component"), LISTS)
def test_keys_and_shapes_are_those_of_the_released_files(name: str, component: str) -> None:
    chosen = layout(name)
    prefix, part = chosen.prefixes[component], chosen.components[component]
    lines = sorted(f"{key.removeprefix(prefix)} {list(shape)}\n" for key, shape in part.items())
    digest = hashlib.sha256("".join(sorted(lines, key=lambda line: line.split()[0])).encode()).hexdigest()
    assert (len(lines), digest[:16]) == LISTS[name, component]


@pytest.mark.parametrize("name", TOTALS)
def test_whole_layouts_have_the_tensors_of_the_released_files(name: str) -> None:
    assert len(layout(name).shapes) == TOTALS[name]


def test_sd2_for_768_pixels_is_told_by_its_prediction() -> None:
    assert layout("sd2").spec("v") == ("stable-diffusion-v2-768-v", 768)
    assert layout("sd2").spec("eps") == ("stable-diffusion-v2-512", 512)
    assert layout("sd1").spec("v") == ("stable-diffusion-v1", 512)


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


@pytest.mark.parametrize("name", layouts())
def test_a_layout_that_all_tensors_of_a_few_blocks_fit_is_found(name: str) -> None:
    unet = layout(name).components["unet"]
    for blocks in ({"IN04", "IN05"}, {"IN08", "OUT00"}, {"M00"}, {"OUT05"}):
        part = {key: shape for key, shape in unet.items() if place(key).block in blocks}
        found = find_layout(header(part))
        assert found is not None
        assert part.items() <= found.shapes.items(), (blocks, found.name)


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
