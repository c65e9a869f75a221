"""List the files in the model folders: one look at each folder entry, no file opened; no torch."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

logger = logging.getLogger(__name__)

KIND_FOLDERS: Final[dict[str, tuple[str, ...]]] = {
    "checkpoint": ("stable-diffusion", "checkpoints", "diffusers"),
    "vae": ("vae",),
    "lora": ("lora", "loras", "lycoris"),
    "embedding": ("embeddings",),
    "hypernetwork": ("hypernetworks",),
    "upscaler": (
        "esrgan", "realesrgan", "swinir", "scunet", "dat", "hat", "bsrgan", "upscale_models",
    ),
    "face": ("gfpgan", "codeformer", "facerestore_models"),
    "face-detector": ("facedetection",),
    "controlnet": ("controlnet",),
    "vae-approx": ("vae-approx", "vae_approx"),
    "text-encoder": ("text_encoder", "text_encoders", "clip"),
    "unet": ("unet", "diffusion_models"),
}  # fmt: skip
"""Folder names below a models folder, A1111's and ComfyUI's, in lower case: case is ignored."""

EMBEDDING_ENDINGS: Final = (".safetensors", ".pt", ".bin")
EMBEDDING_PICTURES: Final = (".png", ".webp", ".avif", ".jxl")
"""Pictures may hold an embedding inside."""

KIND_ENDINGS: Final[dict[str, tuple[str, ...]]] = {
    "checkpoint": (".safetensors", ".ckpt"),
    "vae": (".safetensors", ".pt", ".ckpt"),
    "lora": (".safetensors", ".pt", ".ckpt"),
    "embedding": (*EMBEDDING_ENDINGS, *EMBEDDING_PICTURES),
    "hypernetwork": (".pt",),
    "upscaler": (".safetensors", ".pth", ".pt"),
    "face": (".safetensors", ".pth", ".pt", ".ckpt"),
    "face-detector": (".onnx",),
    "controlnet": (".safetensors", ".pth", ".pt", ".ckpt", ".bin"),
    "vae-approx": (".safetensors", ".pth", ".pt"),
    "text-encoder": (".safetensors", ".bin", ".pt"),
    "unet": (".safetensors", ".sft"),
}
DIFFUSERS_INDEX: Final = "model_index.json"
NETWORK_FILES: Final = tuple(
    f"diffusion_pytorch_model{ending}"
    for ending in (".safetensors", ".fp16.safetensors", ".bin", ".fp16.bin")
)
"""What diffusers calls the weights of a network, in the order they are preferred."""
MAX_DEPTH: Final = 24

Root = tuple[str, str]
"""A kind of file (a key of ``KIND_FOLDERS``) and a topmost folder in which it is looked for."""


class ModelFolders(Protocol):
    """Where to look. ``models`` are folders with A1111's or ComfyUI's sub-folders; the others
    hold files of one kind."""

    @property
    def models(self) -> tuple[Path, ...]: ...
    @property
    def checkpoints(self) -> tuple[Path, ...]: ...
    @property
    def vaes(self) -> tuple[Path, ...]: ...
    @property
    def loras(self) -> tuple[Path, ...]: ...
    @property
    def embeddings(self) -> tuple[Path, ...]: ...
    @property
    def hypernetworks(self) -> tuple[Path, ...]: ...
    @property
    def upscalers(self) -> tuple[Path, ...]: ...


@dataclass(frozen=True)
class FoundFile:
    """One file (or diffusers folder) below the topmost folder ``root``; ``problem`` where its
    entry alone shows one. ``created_ns`` is when it was made, where the system knows that."""

    kind: str
    name: str
    path: str
    size: int
    mtime_ns: int
    problem: str = ""
    root: str = ""
    created_ns: int = 0


def scan(folders: ModelFolders, elsewhere: Iterable[Root] = ()) -> Iterator[FoundFile]:
    """All files in the model folders, each once; names unique within a kind.

    Args:
        elsewhere: More folders to look in, after ours.
    """
    seen_roots: set[tuple[str, int, int]] = set()
    seen_files: set[tuple[str, str]] = set()
    taken: set[tuple[str, str]] = set()
    for kind, root in (*_roots(folders), *elsewhere):
        try:
            info = os.stat(root)
        except OSError:
            continue
        if (kind, info.st_dev, info.st_ino) in seen_roots:
            continue
        seen_roots.add((kind, info.st_dev, info.st_ino))
        for found in _walk(kind, root, "", [(info.st_dev, info.st_ino)]):
            if (found.kind, found.path) in seen_files:
                continue
            seen_files.add((found.kind, found.path))
            name = found.name
            if (found.kind, name) in taken:
                name = f"{os.path.basename(root)}/{name}"
            if (found.kind, name) in taken:
                name = printable(found.path)
            taken.add((found.kind, name))
            yield replace(found, name=name, root=root)


def folders_of(folders: ModelFolders, kind: str, elsewhere: Iterable[Root] = ()) -> list[str]:
    """The topmost folders in which files of a kind are looked for, those that are there."""
    roots = (*_roots(folders), *elsewhere)
    return [root for found, root in roots if found == kind and os.path.isdir(root)]


def model_roots(models: Path) -> Iterator[Root]:
    """The folders of known names below a models folder; none when it is not there."""
    kinds = {name: kind for kind, names in KIND_FOLDERS.items() for name in names}
    try:
        with os.scandir(models) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError:
        return
    known = [name for name in names if name.lower() in kinds]
    known.sort(key=lambda n: KIND_FOLDERS[kinds[n.lower()]].index(n.lower()))
    for name in known:
        yield kinds[name.lower()], os.path.join(models, name)


def _roots(folders: ModelFolders) -> Iterator[Root]:
    for models in folders.models:
        yield from model_roots(models)
    extra = {
        "checkpoint": folders.checkpoints,
        "vae": folders.vaes,
        "lora": folders.loras,
        "embedding": folders.embeddings,
        "hypernetwork": folders.hypernetworks,
        "upscaler": folders.upscalers,
    }
    for kind, paths in extra.items():
        for path in paths:
            yield kind, os.fspath(path)


def _walk(
    kind: str, folder: str, prefix: str, parents: list[tuple[int, int]]
) -> Iterator[FoundFile]:
    """Files below a folder. Links are followed; a folder inside itself is not entered."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda e: e.name)
    except OSError as err:
        logger.warning("%s cannot be listed: %s", folder, err)
        return
    if kind == "embedding":
        shown = _shown_stems(entries)
        entries = [entry for entry in entries if not _only_shows(entry.name, shown)]
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            if entry.is_dir():
                yield from _enter(kind, entry, prefix, parents)
            else:
                found = _file(kind, entry, prefix)
                if found is not None:
                    yield found
        except OSError as err:
            logger.warning("%s cannot be looked at: %s", entry.path, err)


def _shown_stems(entries: list[os.DirEntry[str]]) -> frozenset[str]:
    """Stems of the weights files of a folder: pictures of these names show what they do."""
    parts = (os.path.splitext(entry.name) for entry in entries)
    return frozenset(stem for stem, ending in parts if ending.lower() in EMBEDDING_ENDINGS)


def _only_shows(name: str, shown: frozenset[str]) -> bool:
    """Whether a file among embeddings is a picture of what one does, not one itself."""
    stem, ending = os.path.splitext(name)
    if ending.lower() not in EMBEDDING_PICTURES:
        return False
    return stem in shown or stem.lower().endswith(".preview")


def _enter(
    kind: str, entry: os.DirEntry[str], prefix: str, parents: list[tuple[int, int]]
) -> Iterator[FoundFile]:
    if kind == "checkpoint" and os.path.exists(os.path.join(entry.path, DIFFUSERS_INDEX)):
        info = os.stat(os.path.join(entry.path, DIFFUSERS_INDEX))
        name = prefix + printable(entry.name)
        yield FoundFile(
            kind, name, entry.path, _folder_size(entry.path), info.st_mtime_ns,
            created_ns=_created_ns(info),
        )  # fmt: skip
        return
    network = _network_in(entry.path) if kind == "controlnet" else None
    if network is not None:
        name = f"{prefix}{printable(entry.name)}{os.path.splitext(network)[1]}"
        info = os.stat(network)
        yield FoundFile(
            kind, name, network, info.st_size, info.st_mtime_ns, created_ns=_created_ns(info)
        )
        return
    info = entry.stat()
    identity = (info.st_dev, info.st_ino)
    if identity in parents or len(parents) > MAX_DEPTH:
        return
    deeper = f"{prefix}{printable(entry.name)}/"
    yield from _walk(kind, entry.path, deeper, [*parents, identity])


def _network_in(folder: str) -> str | None:
    """The weights in diffusers' folder of one network, which is called as the folder is; None for
    other folders."""
    if not os.path.exists(os.path.join(folder, "config.json")):
        return None
    paths = (os.path.join(folder, name) for name in NETWORK_FILES)
    return next((path for path in paths if os.path.isfile(path)), None)


def _file(kind: str, entry: os.DirEntry[str], prefix: str) -> FoundFile | None:
    lower = entry.name.lower()
    is_vae_beside = kind == "checkpoint" and lower.endswith(".vae.pt")
    if not (lower.endswith(KIND_ENDINGS[kind]) or is_vae_beside):
        return None
    if kind == "checkpoint" and ".vae." in lower:
        kind = "vae"
    name = prefix + printable(entry.name)
    try:
        info = entry.stat()
    except OSError as err:
        what = "a link to a file that is not there" if entry.is_symlink() else str(err.strerror)
        return FoundFile(kind, name, entry.path, 0, 0, f"{printable(entry.name)} is {what}.")
    problem = "" if info.st_size else f"{printable(entry.name)} is empty (0 bytes)."
    return FoundFile(
        kind, name, entry.path, info.st_size, info.st_mtime_ns, problem,
        created_ns=_created_ns(info),
    )  # fmt: skip


def _created_ns(info: os.stat_result) -> int:
    """When a file was made; where the system does not say, when its entry last changed."""
    return int(getattr(info, "st_birthtime", info.st_ctime) * 1e9)


def _folder_size(path: str) -> int:
    total = 0
    for folder, _, files in os.walk(path):
        for file in files:
            try:
                total += os.stat(os.path.join(folder, file)).st_size
            except OSError:
                continue
    return total


def printable(name: str) -> str:
    """A file name as text that can be encoded; undecodable bytes become U+FFFD."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
