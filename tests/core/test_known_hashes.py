"""Hashes that are known: of unchanged files, kept where they can be."""

from enogu.core.records.hashes import sha256_file
from enogu.core.records.known_hashes import KnownHashes


def test_a_hash_is_kept_until_the_file_changes(tmp_path):
    path, memory = tmp_path / "a", tmp_path / "deep" / "hashes.json"
    path.write_text("one")
    known = KnownHashes(memory)
    assert known.get(path) is None
    first = known.of(path)
    known.remember()
    assert KnownHashes(memory).get(path) == first == sha256_file(path)
    path.write_text("another")
    assert KnownHashes(memory).get(path) is None


def test_a_memory_that_cannot_be_written_is_no_loss(tmp_path):
    (tmp_path / "file").write_text("")
    known = KnownHashes(tmp_path / "file" / "hashes.json")
    known.of(tmp_path / "file")
    known.remember()
