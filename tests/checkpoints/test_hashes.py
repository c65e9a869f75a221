"""Hashes by A1111's rules."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.checkpoints.model_files import TINY_HEADER, write_raw
from webui.checkpoints.hashes import lora_hash, old_hash, sha256_of_file
from webui.errors import CheckpointError, JobCancelled


def test_whole_file_hash_is_sha256(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc" * 3_000_000)
    assert sha256_of_file(path) == hashlib.sha256(b"abc" * 3_000_000).hexdigest()


def test_old_hash_reads_64_kib_at_one_mib(tmp_path: Path) -> None:
    path = tmp_path / "a"
    middle = bytes(range(256)) * 256
    path.write_bytes(b"x" * 0x100000 + middle + b"y" * 99)
    assert old_hash(path) == hashlib.sha256(middle).hexdigest()[:8]


def test_old_hash_of_a_short_file_is_that_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"short")
    assert old_hash(path) == "e3b0c442"
    assert old_hash(tmp_path / "gone") == "NOFILE"


def test_lora_hash_prefers_what_the_trainer_stated(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "a.safetensors", TINY_HEADER, b"12345678")
    without_header = hashlib.sha256(b"12345678").hexdigest()
    assert lora_hash(path, {}) == without_header
    assert lora_hash(path, {"sshs_model_hash": "AB" * 32}) == "ab" * 32
    assert lora_hash(path, {"sshs_model_hash": "nonsense"}) == without_header


def test_lora_hash_of_a_torch_file_covers_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(b"12345678901")
    assert lora_hash(path, {}) == hashlib.sha256(b"12345678901").hexdigest()


def test_hashing_stops_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    with pytest.raises(JobCancelled):
        sha256_of_file(path, should_stop=lambda: True)


def test_missing_file_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        sha256_of_file(tmp_path / "gone")
