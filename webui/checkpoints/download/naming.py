"""Names that servers give, made safe, and the folder each kind of file belongs in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote

from webui.checkpoints.scan import KIND_ENDINGS, KIND_FOLDERS
from webui.errors import DownloadError

USUAL_FOLDERS: Final = {
    "checkpoint": "Stable-diffusion",
    "vae": "VAE",
    "lora": "Lora",
    "hypernetwork": "hypernetworks",
    "upscaler": "ESRGAN",
    "face": "GFPGAN",
    "face-detector": "facedetection",
    "controlnet": "ControlNet",
    "vae-approx": "VAE-approx",
}
"""A1111's names, below the models folder; embeddings lie beside it."""
KINDS: Final = ("checkpoint", "lora", "embedding", "vae", "upscaler", "hypernetwork", "controlnet")
"""What a person may say a link leads to."""
ENDINGS: Final = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".onnx")
"""Files of weights; nothing else is fetched."""
MOST_CHARACTERS: Final = 120
_RESERVED: Final = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
"""Names that Windows keeps for devices."""


class Places(Protocol):
    """Where things lie; see ``settings.Folders``."""

    @property
    def own_models(self) -> Path: ...
    @property
    def embeddings(self) -> tuple[Path, ...]: ...


def safe_name(told: str, fallback: str = "model.safetensors") -> str:
    """A server's name for a file as a plain file name, without folders and control characters."""
    name = unquote(told).replace("\\", "/").rpartition("/")[2]
    name = "".join(c for c in name if c.isprintable() and c not in '<>:"|?*')
    name = re.sub(r"\s+", " ", name).strip(" .")
    stem, dot, ending = name.rpartition(".")
    if dot and len(name) > MOST_CHARACTERS:
        name = f"{stem[: MOST_CHARACTERS - len(ending) - 1].rstrip()}.{ending}"
    if not name or _RESERVED.fullmatch(name):
        return fallback
    return name


def disposition_name(header: str) -> str:
    """The file name of a Content-Disposition header; '' when it has none."""
    extended = re.search(r"filename\*\s*=\s*[\w-]*'[^']*'([^;]+)", header, re.IGNORECASE)
    if extended:
        return unquote(extended[1].strip().strip('"'))
    plain = re.search(r'filename\s*=\s*("([^"]*)"|[^;]+)', header, re.IGNORECASE)
    return (plain[2] or plain[1]).strip() if plain else ""


def check_ending(name: str) -> None:
    """Only weights are fetched.

    Raises:
        DownloadError: The name ends otherwise.
    """
    if not name.lower().endswith(ENDINGS):
        raise DownloadError(
            f"{name!r} is no file of weights.", f"They end in {', '.join(ENDINGS)}."
        )


def folder_of(kind: str, places: Places, named: str = "") -> Path:
    """Where a file of a kind belongs: the folder that is there, whatever it is called in A1111's
    or ComfyUI's way, else A1111's.

    Args:
        named: The folder's usual name below the models folder, where the catalog tells it.
    Raises:
        DownloadError: No such kind.
    """
    if kind == "embedding" and places.embeddings:
        return places.embeddings[0]
    if kind not in USUAL_FOLDERS:
        raise DownloadError(f"There is no kind of weights called {kind!r}.", _KINDS_HINT)
    wanted = named or USUAL_FOLDERS[kind]
    names = (wanted.lower(),) if named else (wanted.lower(), *KIND_FOLDERS[kind])
    try:
        there = {path.name.lower(): path for path in places.own_models.iterdir() if path.is_dir()}
    except OSError:
        there = {}
    found = next((there[name] for name in names if name in there), None)
    return found or places.own_models / wanted


def kind_at(path: Path, places: Places) -> str:
    """The kind whose folder a file lies in; '' when it is no kind's."""
    return next((kind for kind in KINDS if path.parent == folder_of(kind, places)), "")


_KINDS_HINT: Final = f"These are known: {', '.join(KINDS)}."


def fits(kind: str, name: str) -> bool:
    """False when files of a kind never end like this, so that nobody would find it there."""
    return name.lower().endswith(KIND_ENDINGS[kind])
