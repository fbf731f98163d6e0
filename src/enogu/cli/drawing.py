"""The arguments of the verbs that draw, the models they name, and how they show that they go on."""

import argparse
import re
from pathlib import Path
from types import MappingProxyType
from typing import Any

from enogu.cli.parser import counting_from
from enogu.core.networks.checkpoint import find_family
from enogu.core.networks.source import read_source_header
from enogu.core.records.errors import Refused
from enogu.recipe.kinds import EMBEDDED, PACKAGE
from enogu.sample.config import GridConfig
from enogu.sample.methods import AUTOMATIC, METHODS, SCHEDULES

SIDES = MappingProxyType({"mini-sd1": 64})  # the pictures of every other family are 512 pixels wide


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add what every picture of a call shares."""
    verb.add_argument("-n", "--negative", default="", metavar="NEG", help="what the pictures should not show")
    verb.add_argument("--size", metavar="WxH", help="in pixels (default: what the model was made for)")
    verb.add_argument("--steps", type=int, default=GridConfig.steps, help="default: %(default)s")
    verb.add_argument("--cfg", type=float, default=GridConfig.cfg, help="guidance (default: %(default)s)")
    verb.add_argument("--sampler", default=GridConfig.sampler, help=f"{', '.join(METHODS)} (default: %(default)s)")
    verb.add_argument("--schedule", default=AUTOMATIC, help=f"{', '.join(SCHEDULES)} (default: the sampler's own)")
    verb.add_argument("--clip-skip", type=int, default=1, metavar="N", help="default: %(default)s")
    verb.add_argument("--emphasis", default=GridConfig.emphasis, help="Original or No norm (default: %(default)s)")
    verb.add_argument("--precision", default="fp32", help="fp32 or bf16 (default: %(default)s)")
    verb.add_argument(
        "--batch", type=counting_from(0), default=0, help="pictures drawn at once (default: as many as fit)"
    )
    verb.add_argument("-o", "--out", type=Path, default=Path(), metavar="DIR", help="default: here")


def shared(args: argparse.Namespace, model: Path) -> dict[str, Any]:
    """Return the settings of a grid that `add_arguments` added; `model` gives the size where none was named."""
    if args.out.exists() and not args.out.is_dir():
        raise Refused(f"-o {args.out}: a file; give a folder for the pictures")
    names = ("negative", "steps", "cfg", "sampler", "schedule", "clip_skip", "emphasis", "precision", "batch")
    width, height = _size(args.size, model)
    return {"width": width, "height": height, **{name: getattr(args, name) for name in names}}


def checkpoint(name: str) -> Path:
    """Return where a model lies: a path to a checkpoint of any form, or the name of one that comes with the package."""
    known = EMBEDDED["model"]
    path = PACKAGE / known[name] if name in known else Path(name)
    if not path.exists():
        forms = "a .safetensors file, a .ckpt, a diffusers folder"
        raise Refused(f"there is no checkpoint {name!r}; give {forms} or one of: {', '.join(known)}")
    return path


def title(path: Path) -> str:
    """Return what a checkpoint is called: its file's name without the ending, or its folder's."""
    return path.resolve().name if path.is_dir() else path.stem


def _size(text: str | None, model: Path) -> tuple[int, int]:
    if text is None:
        side = SIDES.get(find_family(model, read_source_header(model)).name, 512)
        return side, side
    if not re.fullmatch(r"\d+x\d+", text):
        raise Refused(f"--size {text}: write width and height in pixels, as in 512x768")
    width, _, height = text.partition("x")
    return int(width), int(height)
