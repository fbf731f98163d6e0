"""Diffusers folders, written: the components' weights under diffusers' names, and their settings beside them."""

import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from enogu.core.networks import settings
from enogu.core.networks.diffusers import FOLDERS, Spelling, spellings
from enogu.core.networks.header import Spec
from enogu.core.networks.keys import TEXT_ENCODERS, place
from enogu.core.networks.layouts import Layout
from enogu.core.networks.rewrite import Rewrite, pour
from enogu.core.networks.stream import open_writer
from enogu.core.networks.vocabulary import merges, tokens
from enogu.core.records.errors import Refused
from enogu.core.records.files import held, sweep_dead, write_bytes, write_json
from enogu.core.records.progress import Progress, silent

MERGES_VERSION = "#version: 0.2"  # the first line of merges.txt, which readers skip
FILES: Mapping[str, str] = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}  # others: "model"


@dataclass(frozen=True)
class _Piece:
    """A tensor of the folder: which rows of which tensor of the LDM layout it is, and how it is turned."""

    key: str
    spelling: Spelling
    index: int

    def cut(self, work: Rewrite) -> Iterator[Tensor]:
        """Yield the piece's elements, flat."""
        shape = work.specs[self.key].shape
        size = math.prod(shape) // len(self.spelling.names)
        found = work.pieces(self.key, self.index * size, (self.index + 1) * size)
        if self.spelling.turned:
            yield torch.cat(list(found)).reshape(shape).t().reshape(-1)
        else:
            yield from found


def write_pipeline(
    out: Path,
    work: Rewrite,
    metadata: Callable[[], Mapping[str, str]],
    *,
    tokenizers: Sequence[Path] = (),
    progress: Progress = silent,
) -> list[str]:
    """Write a folder that diffusers loads, with metadata in each file; return the keys that have no place in it."""
    chosen = work.layout
    if chosen is None:
        raise Refused(f"{work.main.path} is of no known family, and diffusers has to be told one")
    parts = {component: _pieces(chosen, component, work.specs) for component in chosen.components}
    if empty := [component for component, pieces in parts.items() if not pieces]:
        raise Refused(f"{work.main.path} has no {', '.join(empty)}; a diffusers folder needs every component")
    told, total, done = {"format": "pt", **metadata()}, sum(map(len, parts.values())), 0
    with _new_folder(out) as folder:
        for component, pieces in parts.items():
            path = folder / FOLDERS[component] / f"{FILES.get(component, 'model')}.safetensors"
            specs = {
                name: Spec(work.specs[piece.key].dtype, piece.spelling.shape(work.specs[piece.key].shape))
                for name, piece in pieces.items()
            }
            with open_writer(path, specs, told) as writer:
                for name in writer.infos:
                    pour(writer, name, pieces[name].cut(work))
                    done += 1
                    progress(done, total, "tensors")
        _write_settings(folder, chosen, work, parts=parts)
        _write_tokenizers(folder, chosen, tokenizers)
        folders = {component: FOLDERS[component] for component in parts}
        write_json(folder / "model_index.json", settings.index(chosen, folders))
    placed = {piece.key for pieces in parts.values() for piece in pieces.values()}
    return [key for key in work.specs if key not in placed and place(key).fixed != "ids"]


def _pieces(chosen: Layout, component: str, specs: Mapping[str, Spec]) -> dict[str, _Piece]:
    found = {}
    for key, (spelling, *_) in spellings(chosen.name).items():
        if spelling.component == component and key in specs and _wanted(chosen, component, spelling):
            for index, name in enumerate(spelling.names):
                found[name] = _Piece(key, spelling, index)
    return found


def _wanted(chosen: Layout, component: str, spelling: Spelling) -> bool:
    """Return whether diffusers' networks have a place for a tensor.

    SD2 reads the last layer but one of its OpenCLIP; diffusers leaves out what is never run.
    """
    if chosen.kinds[component] != "openclip":
        return True
    name, last = spelling.names[0], chosen.sizes[component]["layers"] - 1
    unused = component == "te1" and (spelling.turned or f".layers.{last}." in name)
    return not unused and name != "logit_scale"


def _write_settings(folder: Path, chosen: Layout, work: Rewrite, *, parts: Mapping[str, Mapping[str, _Piece]]) -> None:
    predicts = work.predicts
    for component, pieces in parts.items():
        if component in ("unet", "vae"):
            told = (settings.unet if component == "unet" else settings.vae)(chosen, predicts)
        else:
            layers = 1 + max(int(name.split(".layers.")[1].split(".")[0]) for name in pieces if ".layers." in name)
            told = settings.text(chosen, component, layers)
        write_json(folder / FOLDERS[component] / "config.json", told)
    write_json(folder / "scheduler" / "scheduler_config.json", settings.scheduler(predicts))


def _write_tokenizers(folder: Path, chosen: Layout, given: Sequence[Path]) -> None:
    """Copy the tokenizers of the folder that this one is made from; write those that it lacks."""
    for tokenizer in given:
        shutil.copytree(tokenizer, folder / tokenizer.name)
    for component in (each for each in TEXT_ENCODERS if each in chosen.kinds):
        here = folder / FOLDERS[component].replace("text_encoder", "tokenizer")
        if not here.exists():
            write_json(here / "vocab.json", {token: number for number, token in enumerate(tokens())})
            write_bytes(here / "merges.txt", "\n".join([MERGES_VERSION, *merges(), ""]).encode())
            write_json(here / "tokenizer_config.json", settings.tokenizer(chosen, component))


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out`, which becomes it when the block ends without an error."""
    sweep_dead(out)
    part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        with held(part):
            yield part
            os.replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
