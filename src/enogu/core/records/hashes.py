"""Content hashes of files and of settings."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def settings_hash(value: Any) -> str:
    """Return 16 hex digits that name a settings tree: dataclasses, mappings, sequences, scalars."""
    text = json.dumps(settings_plain(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def settings_plain(value: Any) -> Any:
    """Return a settings tree as mappings, lists and scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: settings_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): settings_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [settings_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
