"""The hashes of the maker's checkpoints, kept between runs as the webui keeps them."""

import os
from pathlib import Path

from enogu.core.records.known_hashes import KnownHashes


def known_hashes() -> KnownHashes:
    """Return what is known; a file is hashed when it is first used."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return KnownHashes(cache / "enogu" / "hashes.json")
