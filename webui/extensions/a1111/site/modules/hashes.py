"""Hashes of files."""

from __future__ import annotations

import hashlib
import os


def calculate_sha256(filename: str) -> str:
    """Of a whole file."""
    digest = hashlib.sha256()
    with open(filename, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256(filename: str, title: str, use_addnet_hash: bool = False) -> str:
    """Of a whole file; remembered while it stays the same."""
    from . import cache

    known = cache.cache("hashes")
    changed = os.path.getmtime(filename)
    found = known.get(title)
    if found and found["mtime"] == changed:
        return str(found["sha256"])
    known[title] = {"mtime": changed, "sha256": calculate_sha256(filename)}
    cache.dump_cache()
    return str(known[title]["sha256"])


def sha256_from_cache(filename: str, title: str, use_addnet_hash: bool = False) -> str | None:
    """As ``sha256``, when it is known."""
    from . import cache

    found = cache.cache("hashes").get(title)
    return str(found["sha256"]) if found and found["mtime"] == os.path.getmtime(filename) else None
