"""How diffusers spells a checkpoint's keys: every name that a tensor of the LDM layout has there.

Sources: data/diffusers.toml.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from enogu.core.networks.layouts import Layout, layout, layouts

Shapes = Mapping[str, tuple[int, ...]]
FOLDERS: Mapping[str, str] = {"unet": "unet", "te1": "text_encoder", "te2": "text_encoder_2", "vae": "vae"}
BLOCKS = 2  # ResNet blocks per level of every UNet here; on the way up there is one more


@dataclass(frozen=True)
class Spelling:
    """The tensors of a diffusers folder that make one of LDM: laid end to end, or turned about; `flat` lacks 1 x 1."""

    component: str
    names: tuple[str, ...]
    turned: bool = False
    flat: bool = False

    def shape(self, whole: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of each of the tensors that make one of shape `whole`."""
        if self.turned:
            return whole[::-1]
        if self.flat:
            return whole[:2]
        return (whole[0] // len(self.names), *whole[1:]) if whole else whole


@cache
def spellings(name: str) -> Mapping[str, tuple[Spelling, ...]]:
    """Return diffusers' spellings of a layout's keys, the present one first."""
    chosen = layout(name)
    return {key: tuple(_spell(chosen, part, key)) for part, shapes in chosen.components.items() for key in shapes}


def recognise(shapes: Mapping[str, Shapes]) -> Mapping[str, Spelling]:
    """Return LDM key -> spelling for names by component, of the layout that most of them fit, by shape and by name."""
    best: dict[str, Spelling] = {}
    score = 0.0
    for known in layouts().values():
        wanted = known.shapes
        found, like = {}, 0
        for key, options in spellings(known.name).items():
            for option in options:
                own = shapes.get(option.component, {})
                if key not in found and all(name in own for name in option.names):
                    found[key] = option
                    shape = option.shape(wanted[key])
                    allowed = (shape, wanted[key]) if option.flat else (shape,)
                    like += sum(own[name] in allowed for name in option.names)
        covered = sum(len(option.names) for option in found.values())
        if found and (now := like + covered / 1e6) > score:
            best, score = found, now
    return best


def _spell(chosen: Layout, component: str, key: str) -> Iterator[Spelling]:
    kind, within = chosen.kinds[component], key.removeprefix(chosen.prefixes[component])
    if kind == "unet":
        yield Spelling(component, (unet_name(within),))
    elif kind == "vae":
        for name in _vae(within, len(chosen.sizes[component]["multipliers"])):
            yield Spelling(component, (name,), flat=".mid.attn_1." in key and key.endswith(".weight"))
    elif kind == "clip":
        yield Spelling(component, (f"text_model.{within}",))
        yield Spelling(component, (within,))  # transformers 5
    else:
        for prefix in ("text_model.", ""):
            names = tuple(re.sub(r"^text_model\.", prefix, name) for name in openclip_names(within))
            yield Spelling(component, names, turned=within == "text_projection")


def unet_name(key: str) -> str:
    """Return diffusers' name of a key of LDM's UNet, without its prefix."""
    table = _tables()
    if match := re.fullmatch(r"input_blocks\.(\d+)\.(\d)\.(.*)", key):
        number, place, inner = int(match[1]) - 1, int(match[2]), match[3]
        if number >= 0:
            level, index = divmod(number, BLOCKS + 1)
            if inner.startswith("op."):
                return f"down_blocks.{level}.downsamplers.0.conv.{inner.removeprefix('op.')}"
            return f"down_blocks.{level}.{_resnet(inner, index) if place == 0 else f'attentions.{index}.{inner}'}"
    if match := re.fullmatch(r"output_blocks\.(\d+)\.(\d)\.(.*)", key):
        (level, index), place, inner = divmod(int(match[1]), BLOCKS + 1), int(match[2]), match[3]
        if inner.startswith("conv."):
            return f"up_blocks.{level}.upsamplers.0.{inner}"
        return f"up_blocks.{level}.{_resnet(inner, index) if place == 0 else f'attentions.{index}.{inner}'}"
    for ldm, theirs in table["unet"].items():
        if key.startswith(ldm):
            return str(theirs) + _replaced(key.removeprefix(ldm), table["resnet"])
    return key


def _resnet(inner: str, index: int) -> str:
    return f"resnets.{index}.{_replaced(inner, _tables()['resnet'])}"


def _vae(key: str, levels: int) -> Iterator[str]:
    key = re.sub(r"\bdown\.(\d)\.block\.", r"down_blocks.\1.resnets.", key)
    key = re.sub(r"\bdown\.(\d)\.downsample\.", r"down_blocks.\1.downsamplers.0.", key)
    key = re.sub(r"\bup\.(\d)\.block\.", lambda match: f"up_blocks.{levels - 1 - int(match[1])}.resnets.", key)
    key = re.sub(r"\bup\.(\d)\.upsample\.", lambda match: f"up_blocks.{levels - 1 - int(match[1])}.upsamplers.0.", key)
    if match := re.fullmatch(r"(.*\bmid\.attn_1\.)((?:norm|q|k|v|proj_out)\.)(.*)", key):
        for theirs in _tables()["vae_attention"][match[2]]:
            yield _replaced(match[1], _tables()["vae"]) + theirs + match[3]
    else:
        yield _replaced(key, _tables()["vae"])


def openclip_names(key: str) -> tuple[str, ...]:
    """Return transformers' names of an open_clip key: three for queries, keys and values in one."""
    if match := re.fullmatch(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)", key):
        return tuple(f"text_model.encoder.layers.{match[1]}.self_attn.{x}_proj.{match[2]}" for x in "qkv")
    return (_replaced(key, _tables()["openclip"]),)


def _replaced(key: str, table: Mapping[str, str]) -> str:
    for ldm, theirs in table.items():
        place = key.find(ldm)
        if place == 0 or (place > 0 and key[place - 1] == "."):
            key = key[:place] + theirs + key[place + len(ldm) :]
    return key


@cache
def _tables() -> Mapping[str, Any]:
    return tomllib.loads(resources.files("enogu.core.networks").joinpath("data/diffusers.toml").read_text("utf-8"))
