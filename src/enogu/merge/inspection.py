"""What a checkpoint is made of, what is wrong with it, by which hashes it is known and where it comes from."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from enogu.core.networks.header import Header, TensorInfo
from enogu.core.networks.identity import identify
from enogu.core.networks.keys import COMPONENTS, NAMES, place
from enogu.core.networks.layouts import Fit, find_layout, fits
from enogu.core.networks.prediction import prediction
from enogu.core.networks.stream import Reader
from enogu.core.records.progress import Progress, silent
from enogu.merge.ancestry import ancestry

PIECE = 1 << 20  # elements read at once
LISTED = 8  # odd keys that the text shows of each kind; the data has all


def inspect(path: Path, *, deep: bool = True, progress: Progress = silent) -> dict[str, Any]:
    """Return everything a file tells; `deep` also reads its tensors, for hashes and damage."""
    with Reader(path) as reader:
        header = reader.header
        layout, predicts = find_layout(header), prediction(header)
        found: dict[str, Any] = {
            "file": path.name,
            "bytes": path.stat().st_size,
            "family": layout.name if layout else None,
            "architecture": layout.architecture if layout else None,
            "prediction": {
                "kind": predicts.kind or None,
                "zero_terminal_snr": predicts.zero_terminal_snr,
                "from": predicts.source or None,
            },
            "components": _components(header, {fit.component: fit for fit in fits(layout, header)} if layout else {}),
            "ema": sum(place(key).fixed == "ema" for key in header.tensors),
            "markers": sorted(key for key in header.tensors if place(key).fixed == "marker"),
            "metadata": dict(header.metadata),
            "ancestry": ancestry(header.metadata),
        }
        if deep:
            found["damage"] = list(_damage(reader))
    if deep:
        known = identify(path, progress)
        found["hashes"] = {
            "sha256": known.sha256,
            "AutoV1": known.auto_v1,
            "AutoV2": known.auto_v2,
            "AutoV3": known.auto_v3,
            "data_sha256": known.data_sha256,
            "modelspec": _modelspec(header, known.data_sha256),
        }
        for name, digest in known.components.items():
            found["components"][name]["sha256"] = digest
    return found


def report(found: dict[str, Any]) -> str:
    """Return an inspection as text."""
    lines = [f"{found['file']}: {found['family'] or 'of no known family'}, {found['bytes'] / 2**20:,.1f} MiB"]
    predicts = found["prediction"]
    if predicts["kind"]:
        zero = ", zero terminal SNR" if predicts["zero_terminal_snr"] else ""
        lines.append(f"  predicts {predicts['kind']}{zero} (by {predicts['from']})")
    for name, part in found["components"].items():
        dtypes = ", ".join(f"{count} {dtype}" for dtype, count in part["dtypes"].items())
        digest = f", {part['sha256'][:12]}" if "sha256" in part else ""
        lines.append(
            f"  {NAMES[name]}: {part['tensors']:,} tensors, {part['parameters'] / 1e6:,.2f} M ({dtypes}){digest}"
        )
        for kind in ("missing", "misshapen", "unexpected"):
            lines += [f"    {kind}: {key}" for key in part[kind][:LISTED]]
            if len(part[kind]) > LISTED:
                lines.append(f"    {kind}: {len(part[kind]) - LISTED} more")
    if found["ema"]:
        lines.append(f"  {found['ema']} tensors of a moving average")
    lines += [f"  damaged: {damage['key']}: {damage['what']}" for damage in found.get("damage", [])]
    lines += [f"  {name}: {value}" for name, value in found.get("hashes", {}).items() if value]
    return "\n".join([*lines, *(f"  {line}" for line in _tree(found["ancestry"]))])


def _components(header: Header, met: dict[str, Fit]) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for component in COMPONENTS:
        infos = {key: info for key, info in header.tensors.items() if place(key).component == component}
        if infos:
            fit = met.get(component, Fit(component, len(infos), (), (), ()))
            parts[component] = {
                "tensors": len(infos),
                "parameters": sum(info.numel for info in infos.values() if info.is_float),
                "dtypes": dict(Counter(info.dtype for info in infos.values())),
                "missing": list(fit.missing),
                "misshapen": list(fit.misshapen),
                "unexpected": list(fit.unexpected),
            }
    return parts


def _damage(reader: Reader) -> Iterator[dict[str, str]]:
    for key, info in reader.header.tensors.items():
        if place(key).fixed == "ids":
            values = reader.tensor(key).double().flatten()
            if info.is_float or not torch.equal(values, torch.arange(len(values), dtype=torch.float64)):
                yield {
                    "key": key,
                    "what": f"position ids are {info.dtype} and run from {values.min():g} to {values.max():g}",
                }
        elif info.is_float and (count := sum(_nonfinite(reader, key, info))):
            yield {"key": key, "what": f"{count:,} of {info.numel:,} elements are NaN or infinite"}


def _nonfinite(reader: Reader, key: str, info: TensorInfo) -> Iterator[int]:
    for start in range(0, info.numel, PIECE):
        values = reader.stretch(key, start, min(start + PIECE, info.numel)).float()
        if not math.isfinite(float(values.sum())):
            yield int((~torch.isfinite(values)).sum())


def _modelspec(header: Header, data_sha256: str) -> str | None:
    claimed = header.metadata.get("modelspec.hash_sha256")
    if claimed is None:
        return None
    return "true" if claimed.removeprefix("0x") == data_sha256 else f"false: it claims {claimed}"


def _tree(node: dict[str, Any] | None, depth: int = 0) -> Iterator[str]:
    if node is None:
        return
    if depth or node.get("parents") or node.get("recipe"):
        words = [node.get("name") or "made", (node.get("sha256") or "")[:10], node.get("recipe") or ""]
        yield (
            "  " * depth
            + ("made as " if not depth else "")
            + " ".join(word for word in words if word and (depth or word != "made"))
        )
    for parent in node.get("parents", []):
        yield from _tree(parent, depth + 1)
