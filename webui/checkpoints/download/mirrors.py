"""Other hosts that give the same files: a list people edit, and which of them answers first.

The list is a plain file in the data folder, one line for each mirror:

    huggingface.co = https://hf-mirror.com

means: what lies at https://huggingface.co/PATH lies at https://hf-mirror.com/PATH, too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from webui.checkpoints.download.client import read_address, server_of
from webui.errors import DownloadError, ParamsError

FILE_NAME: Final = "mirrors.txt"
HUGGING_FACE: Final = "huggingface.co"
FIRST_TEXT: Final = """\
# Mirrors: other hosts that give the same files. One a line: HOST = ADDRESS
# Whatever answers first is used; what arrives is checked against its known hash.
# 镜像：提供相同文件的其他网站，每行一个，写法：网站 = 镜像地址。程序会选用最先响应的一个。

huggingface.co = https://hf-mirror.com
"""
_ALSO_CALLED: Final = {"hf.co": HUGGING_FACE, "www.huggingface.co": HUGGING_FACE}


@dataclass(frozen=True)
class Candidate:
    """A place to ask.

    Attributes:
        mirror_of: The host that it stands for; '' for the original.
    """

    url: str
    mirror_of: str = ""


@dataclass(frozen=True)
class Mirrors:
    """Mirrors by the host they stand for, in the order of the list."""

    by_host: Mapping[str, tuple[str, ...]]

    def servers(self) -> frozenset[str]:
        """The mirrors themselves, as ``client.server_of`` writes them."""
        bases = (base for listed in self.by_host.values() for base in listed)
        return frozenset(server_of(httpx.URL(base)) for base in bases)

    def candidates(self, url: str) -> list[Candidate]:
        """The address itself, then the same below each mirror of its host."""
        read = httpx.URL(url)
        host = _ALSO_CALLED.get(read.host, read.host)
        path = read.raw_path.decode("ascii")
        others = (f"{base.rstrip('/')}{path}" for base in self.by_host.get(host, ()))
        return [Candidate(url), *(Candidate(other, host) for other in others)]


def read_mirrors(file: Path, environ: Mapping[str, str] | None = None) -> Mirrors:
    """The mirrors of the list and of HF_ENDPOINT, which stands first.

    Raises:
        ParamsError: A line that cannot be understood.
    """
    environ = os.environ if environ is None else environ
    found = parse_mirrors(mirror_text(file))
    endpoint = environ.get("HF_ENDPOINT", "").strip().rstrip("/")
    if endpoint and httpx.URL(endpoint).host != HUGGING_FACE:
        own = (_checked(endpoint, "HF_ENDPOINT"), *found.get(HUGGING_FACE, ()))
        found[HUGGING_FACE] = tuple(dict.fromkeys(own))
    return Mirrors(found)


def mirror_text(file: Path) -> str:
    """The list as it stands in the file; the first one where there is no file yet."""
    try:
        return file.read_text("utf-8-sig")
    except FileNotFoundError:
        return FIRST_TEXT
    except (OSError, UnicodeDecodeError) as err:
        raise ParamsError(
            f"The list of mirrors {file} cannot be read: {err}.", "Make it a text file in UTF-8."
        ) from err


def write_mirrors(file: Path, text: str) -> None:
    """Check and keep a list.

    Raises:
        ParamsError: A line that cannot be understood, or the file cannot be written.
    """
    parse_mirrors(text)
    fresh = file.with_name(f"{file.name}.new")
    try:
        fresh.write_text(text.rstrip() + "\n", "utf-8")
        os.replace(fresh, file)
    except OSError as err:
        raise ParamsError(
            f"The list of mirrors {file} cannot be written: {err.strerror or err}.",
            "Make the data folder writable.",
        ) from err


def parse_mirrors(text: str) -> dict[str, tuple[str, ...]]:
    """Host → addresses.

    Raises:
        ParamsError: A line that cannot be understood; its number is told.
    """
    found: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        host, equals, base = (part.strip() for part in line.partition("="))
        if not equals or not host or "/" in host:
            raise ParamsError(
                f"Line {number} of the list of mirrors, {line[:80]!r}, cannot be understood.",
                "Write it as: huggingface.co = https://hf-mirror.com",
                field="mirrors",
            )
        host = _ALSO_CALLED.get(host.lower(), host.lower())
        found[host] = (*found.get(host, ()), _checked(base, f"Line {number}"))
    return found


def _checked(base: str, where: str) -> str:
    try:
        read_address(base)
    except DownloadError as err:
        raise ParamsError(
            f"{where} of the list of mirrors: {err.message}", err.hint, field="mirrors"
        ) from err
    return base.rstrip("/")
