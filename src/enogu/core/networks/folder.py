"""Checkpoints of any form found on disk: a single file, shards with their index, a diffusers folder."""

import json
from pathlib import Path
from typing import Any

from enogu.core.networks.diffusers import FOLDERS
from enogu.core.networks.header import open_read
from enogu.core.networks.naming import SLASH
from enogu.core.networks.stored import Contents, Stored, read_safetensors
from enogu.core.networks.torchfile import is_torch_file, read_torch_file
from enogu.core.records.errors import Refused

INDEX = ".index.json"
STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")  # diffusers' and transformers' names of weights
ENDINGS = (".safetensors", ".bin")
MAX_INDEX_BYTES = 1 << 25


def read_contents(path: Path) -> Contents:
    """Read what a checkpoint holds, whatever its form; the tensors of a folder are named FOLDER/NAME."""
    if path.is_dir():
        return _folder(path)
    if path.name.endswith(INDEX):
        return _sharded(path)
    return read_torch_file(path) if is_torch_file(path) else read_safetensors(path)


def files_of(path: Path) -> list[Path]:
    """Return the files that hold a checkpoint's tensors, in a fixed order."""
    if path.is_file() and not path.name.endswith(INDEX):
        return [path]
    return sorted({item.file for item in read_contents(path).tensors.values()})


def _folder(path: Path) -> Contents:
    tensors: dict[str, Stored] = {}
    metadata: dict[str, str] = {}
    for folder in FOLDERS.values():
        if (path / folder).is_dir() and (weights := _weights(path / folder)):
            contents = read_contents(weights)
            tensors |= {f"{folder}{SLASH}{name}": item for name, item in contents.tensors.items()}
            metadata |= contents.metadata
    if not tensors:
        if weights := _weights(path):
            return read_contents(weights)
        raise Refused(
            f"{path} is a folder without weights: no {'/, '.join(FOLDERS.values())}/ with *.safetensors or *.bin"
        )
    return Contents(tensors, metadata | _scheduler(path / "scheduler" / "scheduler_config.json"))


def _weights(folder: Path) -> Path | None:
    """Return a component's weights or their index: safetensors before .bin, no variant before fp16 and others."""
    found: list[tuple[int, bool, str]] = []
    for item in folder.iterdir():
        stem, _, rest = item.name.partition(".")
        for rank, ending in enumerate(ENDINGS):
            for sharded in (False, True):
                tail = ending + (INDEX if sharded else "")
                if stem in STEMS and ("." + rest).endswith(tail):
                    variant = ("." + rest).removesuffix(tail)
                    found.append((rank, variant != "", item.name))
    return folder / min(found)[2] if found else None


def _sharded(index: Path) -> Contents:
    table = _json(index).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        raise Refused(f"{index}: no weight_map from names to files; it is not an index of shards")
    shards = {}
    for name in dict.fromkeys(table.values()):
        if Path(name).name != name:
            raise Refused(f"{index}: it names {name!r}, which lies outside its folder")
        shards[name] = read_contents(index.parent / name)
    if lost := [key for key, name in table.items() if key not in shards[name].tensors]:
        raise Refused(f"{index}: {len(lost)} tensors are not in their shards, such as {lost[0]} in {table[lost[0]]}")
    metadata = {key: text for shard in shards.values() for key, text in shard.metadata.items()}
    return Contents({key: shards[name].tensors[key] for key, name in table.items()}, metadata)


def _scheduler(path: Path) -> dict[str, str]:
    """Return what a scheduler's settings say of prediction, in the words of the headers of single files."""
    if not path.exists():
        return {}
    told = _json(path)
    kind = {"epsilon": "epsilon", "v_prediction": "v"}.get(str(told.get("prediction_type")), "")
    found = {"modelspec.prediction_type": kind} if kind else {}
    return found | ({"ss_zero_terminal_snr": "True"} if told.get("rescale_betas_zero_snr") is True else {})


def _json(path: Path) -> dict[str, Any]:
    with open_read(path) as handle:
        raw = handle.read(MAX_INDEX_BYTES)
    try:
        made = json.loads(raw)
    except (ValueError, RecursionError) as problem:
        raise Refused(f"{path} is not JSON ({problem})") from None
    if not isinstance(made, dict):
        raise Refused(f"{path} is not a JSON object")
    return made
