"""What a checkpoint is made of, what is wrong with it, by which hashes it is known and where it comes from."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from enogu.core.networks.fp8 import is_marker, scale_key
from enogu.core.networks.header import Header
from enogu.core.networks.identity import identify
from enogu.core.networks.keys import COMPONENTS, NAMES, place
from enogu.core.networks.layouts import Fit, Layout, find_layout, fits
from enogu.core.networks.prediction import measured
from enogu.core.networks.source import Source, open_source
from enogu.core.records.printable import printable
from enogu.core.records.progress import Progress, silent
from enogu.merge.adapters.summary import lines as adapter_lines
from enogu.merge.adapters.summary import summary, told
from enogu.merge.ancestry import ancestry
from enogu.merge.statistic import Statistic

LISTED = 8  # odd keys that the text shows of each kind; the data has all
TOLD = (
    "modelspec.",
    "ss_base_model_version",
    "ss_network_",
    "ss_output_name",
    "ss_sd_model_",
    "ss_new_sd_model_hash",
    "ss_training_comment",
    "ss_resolution",
    "ss_clip_skip",
    "lora_adapter_metadata",
    "ss_num_train_images",
    "ss_num_epochs",
    "ss_steps",
    "epoch",
    "global_step",
)
LONG = 80  # characters of a metadata value that the text shows
UNTOLD = ("modelspec.hash_sha256", "modelspec.thumbnail")


def inspect(path: Path, *, deep: bool = True, progress: Progress = silent) -> dict[str, Any]:
    """Return everything a checkpoint tells; `deep` also reads its tensors, for hashes, statistics and damage."""
    with open_source(path) as source:
        header = source.header
        layout = find_layout(header)
        predicts = measured(source, layout.name if layout else "")
        found: dict[str, Any] = {
            "file": path.name,
            "bytes": sum(file.stat().st_size for file in {item.file for item in source.stored.values()}),
            "family": layout.name if layout else None,
            "architecture": layout.spec(predicts.kind)[0] if layout else None,
            "resolution": layout.spec(predicts.kind)[1] if layout else None,
            "prediction": {
                "kind": predicts.kind or None,
                "zero_terminal_snr": predicts.zero_terminal_snr,
                "from": predicts.source or None,
            },
            "components": _components(source, layout),
            "ema": _ema(header),
            "markers": sorted(key for key in header.tensors if place(key).fixed == "marker"),
            "scaled": _scaled(source),
            "renamed": {key: list(source.names[key]) for key in source.renamed},
            "metadata": dict(header.metadata),
            "ancestry": ancestry(header.metadata),
            "adapter": summary(source, deep=deep),
        }
    if deep:
        _look_inside(path, found, header, progress=progress)
    return found


def report(found: dict[str, Any]) -> str:
    """Return an inspection as text."""
    what = told(found["adapter"]) if found["adapter"] else found["family"] or "of no known family"
    lines = [f"{found['file']}: {what}, {found['bytes'] / 2**20:,.1f} MiB"]
    lines += [f"  {line}" for line in adapter_lines(found["adapter"])] if found["adapter"] else []
    if found["architecture"]:
        lines.append(f"  {found['architecture']}, made for {found['resolution']} pixels")
    predicts = found["prediction"]
    if predicts["kind"]:
        zero = ", zero terminal SNR" if predicts["zero_terminal_snr"] else ""
        lines.append(f"  predicts {predicts['kind']}{zero}: {predicts['from']}")
    for name, part in found["components"].items():
        lines += _told_of_component(name, part)
    if ema := found["ema"]:
        whole = "a whole copy" if ema["of"] and ema["copies"] == ema["of"] else f"{ema['copies']} of {ema['of']} copies"
        lines.append(f"  {ema['tensors']} tensors of a moving average of the UNet, {whole}")
    if found["scaled"]:
        lines.append(f"  {found['scaled']} weights in 8 bits with scales")
    if renamed := found["renamed"]:
        key, names = next(iter(renamed.items()))
        lines.append(f"  {len(renamed):,} tensors under foreign names, such as {' + '.join(names)} for {key}")
    lines += [f"  damaged: {damage['key']}: {damage['what']}" for damage in found.get("damage", [])]
    if zeros := found.get("zeros"):
        lines.append(f"  {len(zeros)} weights are nothing but zeros, such as {zeros[0]}")
    lines += [f"  {name}: {value}" for name, value in found.get("hashes", {}).items() if value]
    lines += [
        f"  {key}: {value if len(value) <= LONG else value[:LONG] + '...'}"
        for key, value in found["metadata"].items()
        if key.startswith(TOLD) and key not in UNTOLD
    ]
    return "\n".join(map(printable, [*lines, *(f"  {line}" for line in _tree(found["ancestry"]))]))


def _told_of_component(name: str, part: dict[str, Any]) -> Iterator[str]:
    dtypes = ", ".join(f"{count} {dtype}" for dtype, count in part["dtypes"].items())
    digest = f", {part['sha256'][:12]}" if "sha256" in part else ""
    if part.get("content", part.get("sha256")) != part.get("sha256"):
        digest += f", in 16 bits {part['content'][:12]}"
    yield f"  {NAMES[name]}: {part['tensors']:,} tensors, {part['parameters'] / 1e6:,.2f} M ({dtypes}){digest}"
    if values := part.get("values"):
        ends = f"from {values['min']:.4g} to {values['max']:.4g}"
        yield f"    mean {values['mean']:.3g}, spread {values['std']:.3g}, {ends}"
    for kind in ("missing", "misshapen", "unexpected"):
        yield from (f"    {kind}: {key}" for key in part[kind][:LISTED])
        if len(part[kind]) > LISTED:
            yield f"    {kind}: {len(part[kind]) - LISTED} more"


def _components(source: Source, layout: Layout | None) -> dict[str, Any]:
    header = source.header
    met = {fit.component: fit for fit in fits(layout, header)} if layout else {}
    parts: dict[str, Any] = {}
    for component in COMPONENTS:
        infos = {key: info for key, info in header.tensors.items() if place(key).component == component}
        if infos:
            fit = met.get(component, Fit(component, len(infos), (), (), ()))
            parts[component] = {
                "tensors": len(infos),
                "parameters": sum(info.numel for info in infos.values() if info.is_float),
                "dtypes": dict(Counter(_dtype(source, key) for key in infos)),
                "missing": list(fit.missing),
                "misshapen": list(fit.misshapen),
                "unexpected": list(fit.unexpected),
            }
    return parts


def _dtype(source: Source, key: str) -> str:
    """Return how a tensor is stored; one with a scale is shown to others as what it stands for."""
    slot = source.slots[key]
    return slot.parts[0].info.dtype + (" scaled" if slot.scale else "")


def _ema(header: Header) -> dict[str, int] | None:
    """Count the moving averages, and how many of the UNet's tensors have one (LDM leaves the dots out of the names)."""
    there = {key for key in header.tensors if place(key).fixed == "ema"}
    own = [key for key in header.tensors if place(key).component == "unet"]
    copies = sum("model_ema." + key.removeprefix("model.").replace(".", "") in there for key in own)
    return {"tensors": len(there), "copies": copies, "of": len(own)} if there else None


def _scaled(source: Source) -> int:
    return sum(1 for key in source.stored if not is_marker(key) and scale_key(key, source.stored) and ".weight" in key)


def _look_inside(path: Path, found: dict[str, Any], header: Header, *, progress: Progress) -> None:
    seen: dict[str, Statistic] = {}
    damage: list[dict[str, str]] = []

    def look(key: str, values: Tensor) -> None:
        if place(key).fixed == "ids":
            damage.extend(_bent(key, values, header.tensors[key].dtype))
        elif header.tensors[key].is_float:
            seen.setdefault(key, Statistic()).add(values)

    known = identify(path, progress, look=look)
    for key, own in seen.items():
        if own.odd:
            damage.append({"key": key, "what": f"{own.odd:,} of {own.count:,} elements are NaN or infinite"})
    found["damage"] = sorted(damage, key=lambda item: item["key"])
    found["zeros"] = sorted(key for key, own in seen.items() if own.low == own.high == 0 and key.endswith(".weight"))
    found["hashes"] = {
        "sha256": known.sha256,
        "AutoV1": known.auto_v1,
        "AutoV2": known.auto_v2,
        "AutoV3": known.auto_v3,
        "data_sha256": known.data_sha256,
        "modelspec.hash_sha256": _modelspec(header, known.data_sha256),
    }
    for name, part in found["components"].items():
        part["sha256"], part["content"] = known.components[name], known.contents.get(name)
        part["values"] = sum((own for key, own in seen.items() if place(key).component == name), Statistic()).summary()


def _bent(key: str, values: Tensor, dtype: str) -> Iterator[dict[str, str]]:
    ids = values.double()
    if values.is_floating_point() or not torch.equal(ids, torch.arange(len(ids), dtype=torch.float64)):
        yield {"key": key, "what": f"position ids are {dtype} and run from {ids.min():g} to {ids.max():g}"}


def _modelspec(header: Header, data_sha256: str) -> str | None:
    claimed = header.metadata.get("modelspec.hash_sha256")
    if claimed is None:
        return None
    return "true" if claimed.removeprefix("0x") == data_sha256 else f"false: it claims {claimed}"


def _tree(node: dict[str, Any] | None, depth: int = 0) -> Iterator[str]:
    if node is None:
        return
    if depth or node.get("parents") or node.get("recipe"):
        words = [
            node.get("name") or "made",
            (node.get("sha256") or "")[:10],
            " ".join((node.get("recipe") or "").split()),
        ]
        yield (
            "  " * depth
            + ("made as " if not depth else "")
            + " ".join(word for word in words if word and (depth or word != "made"))
        )
    for parent in node.get("parents", []):
        yield from _tree(parent, depth + 1)
