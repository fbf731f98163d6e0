"""One checkpoint into another: dtype, 8 bits, components of other files, repairs, layout; streamed, by tensors."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from enogu.core.networks.ahead import OnePass
from enogu.core.networks.identity import sha256_of
from enogu.core.networks.keys import TEXT_ENCODERS, place
from enogu.core.networks.pipeline import write_pipeline
from enogu.core.networks.provenance import conversion
from enogu.core.networks.rewrite import Conversion, Rewrite, pour
from enogu.core.networks.source import Source, open_source
from enogu.core.networks.stream import Written, open_writer
from enogu.core.records.errors import Refused
from enogu.core.records.known_hashes import KnownHashes, mark_of
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
    """Write a changed copy of a checkpoint of any form: a single file that tells what it came from, or a folder."""
    if out.exists():
        raise Refused(f"{out} exists; choose another name or remove it first")
    with ExitStack() as stack:
        main = stack.enter_context(_opened(path, mapped))
        parts = {name: stack.enter_context(_opened(file, mapped)) for name, file in change.parts.items()}
        work = Rewrite(change, main, parts, progress=progress)
        if change.layout == "diffusers":
            written = None
            work.dropped += write_pipeline(out, work, tokenizers=_tokenizers(path), progress=progress)
        else:
            written = _write(out, work, parts, known=known or KnownHashes(), progress=progress)
    return Converted(written, work.repaired, work.dropped, main.renamed, work.errors)


def _opened(path: Path, mapped: bool) -> Source:
    return open_source(path, mapped=True) if mapped else OnePass(path)


def _write(out: Path, work: Rewrite, parts: Mapping[str, Source], *, known: KnownHashes, progress: Progress) -> Written:
    sources = {name: (source.path, source.header) for name, source in {"source": work.main, **parts}.items()}
    paths = [path for path, _ in sources.values()]
    blank = conversion(work.metadata, work.change, sources, hashes=["0" * 64] * len(paths))
    with open_writer(out, work.specs, blank) as writer, ThreadPoolExecutor(1) as pool:
        hashing = pool.submit(lambda: [_sha256(path, known) for path in paths])
        for done, name in enumerate(writer.infos):
            pour(writer, name, work.pieces(name))
            progress(done + 1, len(work.specs), "tensors")
        writer.metadata = conversion(work.metadata, work.change, sources, hashes=hashing.result())
    assert writer.written is not None
    return writer.written


def _sha256(path: Path, known: KnownHashes) -> str:
    found = known.get(path)
    if found is None:
        mark, found = mark_of(path), sha256_of(path)
        known.note(path, mark, found)
    return found


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
