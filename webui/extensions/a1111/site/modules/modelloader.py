"""Weights of extensions' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from webui.errors import DownloadError


def load_file_from_url(
    url: str,
    *,
    model_dir: str,
    progress: bool = True,
    file_name: str | None = None,
    hash_prefix: str | None = None,
) -> str:
    """The path of a file that was fetched before.

    Raises:
        DownloadError: It is not there. Nothing is fetched unasked while a job runs.
    """
    name = file_name or url.partition("?")[0].rpartition("/")[2]
    file = Path(model_dir) / name
    if file.is_file():
        return str(file)
    raise DownloadError(
        f"An extension needs the file {name}, which is not in {model_dir}.",
        f"Fetch it from {url} and put it there.",
        url=url,
    )


def load_models(
    model_path: str,
    model_url: str | None = None,
    command_path: str | None = None,
    ext_filter: Any = None,
    download_name: str | None = None,
    ext_blacklist: Any = None,
    hash_prefix: str | None = None,
) -> list[str]:
    """Files of a folder with one of some endings; the address where there is none."""
    found: list[str] = []
    for place in filter(None, (command_path, model_path)):
        for file in sorted(Path(place).rglob("*")) if Path(place).is_dir() else ():
            is_wanted = ext_filter is None or file.suffix in ext_filter
            is_refused = any(str(file).endswith(ending) for ending in ext_blacklist or ())
            if file.is_file() and is_wanted and not is_refused:
                found.append(str(file))
    return found or ([model_url] if model_url else [])


def friendly_name(file: str) -> str:
    """A file's name without its ending."""
    return Path(file.partition("?")[0]).stem


def load_upscalers() -> None:
    """The program looks by itself."""
