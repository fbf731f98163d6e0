"""Hashes that are known: of unchanged files, kept where they can be."""

from pathlib import Path

from enogu.core.records.hashes import sha256_file
from enogu.core.records.known_hashes import KnownHashes, mark_of


def test_a_hash_is_kept_until_the_file_changes(tmp_path: Path) -> None:
    path, memory = tmp_path / "a", tmp_path / "deep" / "hashes.json"
    path.write_text("one")
    known = KnownHashes(memory)
    assert known.get(path) is None
    first = known.of(path)
    known.remember()
    assert KnownHashes(memory).get(path) == first == sha256_file(path)
    path.write_text("another")
    assert KnownHashes(memory).get(path) is None


def test_a_memory_that_cannot_be_written_is_no_loss(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    known = KnownHashes(tmp_path / "file" / "hashes.json")
    known.of(tmp_path / "file")
    known.remember()


def test_a_folder_is_always_hashed(tmp_path: Path) -> None:
    known = KnownHashes()
    known.note(tmp_path, mark_of(tmp_path), "0" * 64)
    assert known.get(tmp_path) is None
