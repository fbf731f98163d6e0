"""What adapters call the modules of a checkpoint: every known name, and where in which tensor it points."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from enogu.core.networks.diffusers import openclip_names, unet_name
from enogu.core.networks.keys import place

PREFIXES = re.compile(
    r"model\.diffusion_model\.|first_stage_model\.|cond_stage_model\.(transformer|model)\."
    r"|conditioner\.embedders\.\d\.(transformer|model)\."
)
OPENCLIP = re.compile(r"(cond_stage_model|conditioner\.embedders\.\d)\.model\.")

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
        for prefix, component in _prefixes().items():
            if text.startswith(prefix):
                name = text.removeprefix(prefix)
                if component == "te1" and not self._has("te1"):  # the refiner has only the second text encoder
                    component = "te2"
                for word in (name, f"text_model_{name}"):  # transformers 5 says the latter no more
                    if found := self.sites.get((component, word)):
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
    if OPENCLIP.match(key):
        yield from _openclip(key, module, shape)
    elif key.endswith(".weight"):
        name = module.removesuffix(".weight")
        words = (unet_name(module).removesuffix(".weight"), name) if place(key).component == "unet" else (name,)
        yield Site(key, _bias(key), 0, shape), words


def _openclip(key: str, module: str, shape: tuple[int, ...]) -> Iterator[tuple[Site, tuple[str, ...]]]:
    """Name a weight as transformers does, of which in_proj is three; open_clip projects from the left."""
    names, transposed = openclip_names(module), module == "text_projection"
    rows = shape[0] // len(names) if shape else 0
    for number, name in enumerate(names):
        if name.endswith(".weight"):
            own = shape[::-1] if transposed else (rows, *shape[1:])
            yield Site(key, _bias(key), number * rows, own, transposed), (name.removesuffix(".weight"),)


def _bias(key: str) -> str:
    return key.removesuffix("weight") + "bias" if key.endswith("weight") else ""


@cache
def _prefixes() -> Mapping[str, str]:
    """Return what names begin with and the component they speak of, longest first."""
    text = resources.files("enogu.merge.adapters").joinpath("data/names.toml").read_text("utf-8")
    rows: Mapping[str, str] = tomllib.loads(text)["prefixes"]
    return dict(sorted(rows.items(), key=lambda row: -len(row[0])))
