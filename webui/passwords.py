"""Passwords: made readable, kept as scrypt hashes; see docs/decisions about sharing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

CONSONANTS, VOWELS = "bdfghjklmnprstvz", "aeiou"
GROUPS = 5
"""Two syllables each: 10 · log2(16 · 5) = 63.2 bits."""
SCHEME = "scrypt"
COST, BLOCK, LANES = 2**15, 8, 1
"""scrypt's N, r, p: 32 MiB and about 0.1 s for each guess (RFC 7914, section 2)."""
MEMORY_BYTES = 64 * 2**20
SALT_BYTES = KEY_BYTES = 16


def make_password() -> str:
    """A password of 63 bits that can be read out over the telephone: ``lomi-tuka-refo-…``."""

    def syllable() -> str:
        return secrets.choice(CONSONANTS) + secrets.choice(VOWELS)

    return "-".join(syllable() + syllable() for _ in range(GROUPS))


def hash_password(password: str) -> str:
    """What is kept of a password: ``scrypt$N$r$p$salt$key``, without comma or colon."""
    salt = secrets.token_bytes(SALT_BYTES)
    key = _derive(password, salt, COST, BLOCK, LANES)
    return "$".join((SCHEME, str(COST), str(BLOCK), str(LANES), _text(salt), _text(key)))


def is_hashed(text: str) -> bool:
    """True for a text of ``hash_password``; passwords can be compared with it."""
    try:
        cost, block, lanes, salt, key = _parts(text)
        _derive("", salt, cost, block, lanes)
    except (ValueError, OverflowError):
        return False
    return len(key) == KEY_BYTES


def is_right(password: str, hashed: str) -> bool:
    """True when ``hashed`` was made of this password; takes as long when it was not."""
    cost, block, lanes, salt, key = _parts(hashed)
    return hmac.compare_digest(_derive(password, salt, cost, block, lanes), key)


def _parts(hashed: str) -> tuple[int, int, int, bytes, bytes]:
    """Raises ValueError for anything that ``hash_password`` does not write."""
    scheme, cost, block, lanes, salt, key = hashed.split("$")
    if scheme != SCHEME:
        raise ValueError(scheme)
    return int(cost), int(block), int(lanes), _bytes(salt), _bytes(key)


def _derive(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"), salt=salt, n=cost, r=block, p=lanes,
        maxmem=MEMORY_BYTES, dklen=KEY_BYTES,
    )  # fmt: skip


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
