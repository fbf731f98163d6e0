"""What adapters call the modules of a checkpoint: every known name, and where in which tensor it points."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from enogu.core.networks.keys import place

PREFIXES = re.compile(
    r"model\.diffusion_model\.|first_stage_model\.|cond_stage_model\.(transformer|model)\."
    r"|conditioner\.embedders\.\d\.(transformer|model)\."
)
NUMBERED = re.compile(r"(input_blocks|middle_block|output_blocks)\.(\d+)\.(?:(\d)\.)?(.+)")
PER_LEVEL = 3  # input blocks of a level: two of layers and a downsampler; output blocks: three of layers
THIRDS = ("q_proj", "k_proj", "v_proj")  # in open_clip's in_proj, from top to bottom

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Site:
    """A module: the tensors of its weight and bias, the rows that are its own, and whether they lie transposed."""

    weight: str
    bias: str
    row: int
    shape: tuple[int, ...]  # of the weight as the adapter means it
    transposed: bool = False


@dataclass(frozen=True)
class Names:
    """Every name of every module of a checkpoint."""

    sites: Mapping[tuple[str, str], Site]  # by component and name
    spelt: Mapping[Site, tuple[str, ...]]  # the names of a site, diffusers' before LDM's

    def find(self, module: str) -> Site | None:
        """Return where a module of an adapter file belongs."""
        text = re.sub(r"_to_out$", "_to_out_0", flat(module).replace("_processor_", "_"))  # diffusers before PEFT
        for prefix in sorted(table("prefixes"), key=len, reverse=True):
            if text.startswith(prefix):
                component, name = table("prefixes")[prefix], text.removeprefix(prefix)
                found = self.sites.get((component, name))
                if found is None and component == "te1":  # the refiner has only the second text encoder
                    found = None if self._has("te1") else self.sites.get(("te2", name))
                if found:
                    return found
        return None

    def kohya(self, site: Site, *, ldm: bool) -> str:
        """Return the name that kohya's scripts give a module: SDXL's UNet in LDM's words, SD1's in diffusers'."""
        component, names = place(site.weight).component, self.spelt[site]
        two = self._has("te2") and self._has("te1")
        prefix = {"unet": "lora_unet_", "te1": "lora_te1_" if two else "lora_te_", "vae": "lora_vae_"}
        name = names[-1] if ldm and component == "unet" else names[0]
        return prefix.get(component, "lora_te2_" if two else "lora_te_") + flat(name)

    def _has(self, component: str) -> bool:
        return any(component == each for each, _ in self.sites)


def names(shapes: Shapes) -> Names:
    """Name every module of a checkpoint."""
    sites: dict[tuple[str, str], Site] = {}
    spelt: dict[Site, tuple[str, ...]] = {}
    for key, shape in shapes.items():
        component = place(key).component
        for site, words in _modules(key, shape) if not place(key).fixed and component != "other" else ():
            spelt[site] = words
            sites |= {(component, flat(word)): site for word in words}
    return Names(sites, spelt)


def flat(name: str) -> str:
    """Return a name with underscores for dots."""
    return name.replace(".", "_")


def _modules(key: str, shape: tuple[int, ...]) -> Iterator[tuple[Site, tuple[str, ...]]]:
    module = PREFIXES.sub("", key, count=1)
    if ".resblocks." in key or module in ("text_projection", "ln_final.weight"):
        yield from _openclip(key, module, shape)
    elif key.endswith(".weight"):
        name = module.removesuffix(".weight")
        words = (_diffusers(name), name) if place(key).component == "unet" else (name,)
        yield Site(key, key.removesuffix("weight") + "bias", 0, shape), words


def _openclip(key: str, module: str, shape: tuple[int, ...]) -> Iterator[tuple[Site, tuple[str, ...]]]:
    if module == "text_projection":  # open_clip multiplies from the left
        yield Site(key, "", 0, shape[::-1], transposed=True), ("text_projection",)
    elif module == "ln_final.weight":
        yield Site(key, key.removesuffix("weight") + "bias", 0, shape), ("text_model.final_layer_norm",)
    elif match := re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+?)[._](?:proj_)?weight", module):
        layer, inner = f"text_model.encoder.layers.{match[1]}", match[2]
        if inner == "attn.in":
            width = shape[0] // len(THIRDS)
            for number, name in enumerate(THIRDS):
                site = Site(key, key.removesuffix("weight") + "bias", number * width, (width, *shape[1:]))
                yield site, (f"{layer}.self_attn.{name}",)
        else:
            name = table("openclip").get(inner, inner)
            yield Site(key, key.removesuffix("weight") + "bias", 0, shape), (f"{layer}.{name}",)


def _diffusers(name: str) -> str:
    """Return diffusers' name of a module of LDM's UNet."""
    if name in table("unet"):
        return table("unet")[name]
    match = NUMBERED.fullmatch(name)
    if match is None:
        return name
    kind, number, part, leaf = match[1], int(match[2]), match[3], match[4]
    if kind == "middle_block":
        return _layer("mid_block", number // 2, resnet=number != 1, leaf=leaf)
    level, index = divmod(number - (kind == "input_blocks"), PER_LEVEL)
    block = f"{'down' if kind == 'input_blocks' else 'up'}_blocks.{level}"
    if leaf in ("op", "conv"):
        return f"{block}.{'downsamplers' if leaf == 'op' else 'upsamplers'}.0.conv"
    return _layer(block, index, resnet=part == "0", leaf=leaf)


def _layer(block: str, index: int, *, resnet: bool, leaf: str) -> str:
    if resnet:
        return f"{block}.resnets.{index}.{table('resnet').get(leaf, leaf)}"
    return f"{block}.attentions.{index}.{leaf}"


@cache
def table(name: str) -> Mapping[str, str]:
    """Return a table of names."""
    text = resources.files("enogu.merge.adapters").joinpath("data/names.toml").read_text("utf-8")
    rows: Mapping[str, str] = tomllib.loads(text)[name]
    return rows
