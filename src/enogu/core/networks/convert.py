"""One checkpoint into another: dtype, 8 bits, components of other files, repairs, layout; streamed, by tensors."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from enogu.core.networks.ahead import OnePass
from enogu.core.networks.identity import sha256_of
from enogu.core.networks.keys import TEXT_ENCODERS, place
from enogu.core.networks.pipeline import write_pipeline
from enogu.core.networks.provenance import conversion, inherited
from enogu.core.networks.rewrite import Conversion, Rewrite, pour
from enogu.core.networks.source import Source, open_source
from enogu.core.networks.stream import Written, open_writer
from enogu.core.records.errors import Refused
from enogu.core.records.known_hashes import KnownHashes
from enogu.core.records.progress import Progress, silent


@dataclass
class Converted:
    """What was done: tensors by fate, and the error of 8-bit weights relative to their size."""

    written: Written | None = None  # none of a folder
    repaired: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def worst(self) -> list[tuple[str, float]]:
        """Return the weights that suffered most."""
        return sorted(self.errors.items(), key=lambda item: -item[1])[:5]


def convert(
    path: Path,
    out: Path,
    change: Conversion,
    *,
    mapped: bool = False,
    known: KnownHashes | None = None,
    progress: Progress = silent,
) -> Converted:
    """Write a changed copy of a checkpoint of any form: a file or a diffusers folder that tells its origin."""
    if os.path.lexists(out):
        raise Refused(f"{out} exists; choose another name or remove it first")
    with ExitStack() as stack:
        main = stack.enter_context(_opened(path, mapped))
        parts = {name: stack.enter_context(_opened(file, mapped)) for name, file in change.parts.items()}
        work = Rewrite(change, main, parts, progress=progress)
        sources = {name: (source.path, source.header) for name, source in {"source": main, **parts}.items()}
        hashes = partial(_hashes, [path for path, _ in sources.values()], known or KnownHashes())
        tell = partial(conversion, change, sources)
        if change.layout == "diffusers":
            written, told = None, lambda: tell(hashes=hashes())
            work.dropped += write_pipeline(out, work, told, tokenizers=_tokenizers(path), progress=progress)
        else:
            written = _write(out, work, tell, hashes=hashes, progress=progress)
    return Converted(written, work.repaired, work.dropped, main.renamed, work.errors)


def _opened(path: Path, mapped: bool) -> Source:
    return open_source(path, mapped=True) if mapped else OnePass(path)


def _write(
    out: Path,
    work: Rewrite,
    tell: Callable[..., dict[str, str]],
    *,
    hashes: Callable[[], list[str]],
    progress: Progress,
) -> Written:
    kept, unknown = inherited(work.metadata), ["0" * 64] * (1 + len(work.change.parts))
    with open_writer(out, work.specs, {**kept, **tell(hashes=unknown)}) as writer, ThreadPoolExecutor(1) as pool:
        hashing = pool.submit(hashes)
        for done, name in enumerate(writer.infos):
            pour(writer, name, work.pieces(name))
            progress(done + 1, len(work.specs), "tensors")
        writer.metadata = {**kept, **tell(hashes=hashing.result())}
    assert writer.written is not None
    return writer.written


def _hashes(paths: list[Path], known: KnownHashes) -> list[str]:
    return [known.of(path, sha256_of) for path in paths]


def _tokenizers(path: Path) -> list[Path]:
    """Return a diffusers folder's tokenizers, which belong to the same text encoders."""
    return sorted(folder for folder in path.glob("tokenizer*") if folder.is_dir()) if path.is_dir() else []


def expand_parts(parts: Mapping[str, Path]) -> dict[str, Path]:
    """Return parts with "te" spelt out as every text encoder that its file has."""
    result = {name: path for name, path in parts.items() if name != "te"}
    if path := parts.get("te"):
        with open_source(path) as source:
            there = {place(key).component for key in source.header.tensors}
        result |= {name: path for name in TEXT_ENCODERS if name in there}
    return result
