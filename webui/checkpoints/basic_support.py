"""Models that are painted by a pipeline of diffusers: which they are, and whether it is safe; no
torch.

A family of our own has samplers, guidance, LoRAs and all options; every other diffusers folder
(``model_index.json``) has *basic support*: its own pipeline paints it with the plain options. A
single file of such a model holds no configuration, and often only its largest network: it is
painted with the other parts of a diffusers folder that lies beside it.

Nothing in a folder is trusted: code is refused, and so are pickles.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from webui.checkpoints.families import FAMILIES as OWN
from webui.checkpoints.folders import PIPELINES, read_json, stated_size
from webui.checkpoints.headers import read_header
from webui.checkpoints.identify import identify_file
from webui.checkpoints.keys import Keys
from webui.checkpoints.records import BASIC
from webui.checkpoints.rules import find_rule
from webui.checkpoints.scan import DIFFUSERS_INDEX
from webui.checkpoints.specs import ArchSpec
from webui.errors import CheckpointError, UnknownArchitectureError, UnsafeCheckpointError

FAMILIES: Final[Mapping[str, tuple[str, str]]] = {
    "StableDiffusion3": ("sd3", "SD 3"), "Flux": ("flux", "FLUX"),
    "FluxKontext": ("flux", "FLUX Kontext"), "Flux2": ("flux2", "FLUX.2"),
    "Flux2Klein": ("flux2", "FLUX.2 klein"), "Chroma": ("chroma", "Chroma"),
    "QwenImage": ("qwen-image", "Qwen-Image"), "QwenImage21": ("qwen-image", "Qwen-Image 2.1"),
    "ZImage": ("z-image", "Z-Image"), "Lumina": ("lumina", "Lumina"),
    "Lumina2": ("lumina", "Lumina 2"), "PixArtAlpha": ("pixart", "PixArt-α"),
    "PixArtSigma": ("pixart", "PixArt-Σ"), "Sana": ("sana", "Sana"),
    "AuraFlow": ("auraflow", "AuraFlow"), "Kolors": ("kolors", "Kolors"),
    "HunyuanDiT": ("hunyuan-dit", "Hunyuan-DiT"), "Kandinsky3": ("kandinsky", "Kandinsky 3"),
    "CogView3Plus": ("cogview", "CogView 3+"), "CogView4": ("cogview", "CogView 4"),
    "HiDreamImage": ("hidream", "HiDream"), "LatentConsistencyModel": ("lcm", "LCM"),
}  # fmt: skip
"""Class name of a pipeline without «Pipeline» → family, and its name in words. Others are known
by their class names."""
SINGLE_FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "sd3": ("sd3",), "flux": ("flux",), "chroma": ("chroma",), "auraflow": ("auraflow",),
    "lumina": ("lumina", "z-image"), "qwen-image": ("qwen-image",), "pixart": ("pixart",),
}  # fmt: skip
"""Family of a single file (``rules.RULES``) → families of the folders that complete it."""
CODE_ENDINGS: Final = (".py", ".pyc", ".pyd", ".so", ".dll", ".dylib")
PICKLE_ENDINGS: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")
_CLASS_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*Pipeline")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class BasicModel:
    """A model with basic support, as its files describe it.

    Attributes:
        folder: The diffusers folder.
        class_name: Of the pipeline that paints it.
        family: ``sd3``, ``flux`` …
        words: The family's name for people.
        parts: Name → (library, class) of what the folder holds.
        left_out: Names of parts that it does without (SD 3 without T5).
        transformer: A single file that stands for the folder's largest network; None = its own.
    """

    folder: Path
    class_name: str
    family: str
    words: str
    parts: Mapping[str, tuple[str, str]]
    left_out: tuple[str, ...] = ()
    transformer: Path | None = None

    @property
    def title(self) -> str:
        """What it is, in words."""
        what = "checkpoint" if self.transformer else "folder"
        article = "an" if self.words[:2] in ("SD", "Au", "LC") else "a"
        return f"{article} {self.words} {what} ({BASIC})"


def identify_any(path: Path) -> ArchSpec | BasicModel:
    """What paints a checkpoint file or diffusers folder.

    Raises:
        UnsafeCheckpointError: It holds code or pickles.
        CheckpointError: Unreadable, incomplete, or nothing that can be painted with.
    """
    try:
        return identify_file(path)
    except UnknownArchitectureError as err:
        found = read_folder(path) if path.is_dir() else _complete_single_file(path)
        if found is None:
            raise
        if isinstance(found, CheckpointError):
            raise found from err
        return found


def describe_checkpoint(path: Path) -> tuple[str, str]:
    """The family of a folder, or of a file that is none of our own families, and what it is in
    words.

    Raises:
        CheckpointError: It cannot be painted with; says why.
    """
    found = identify_any(path)
    if isinstance(found, BasicModel):
        return found.family, found.title
    return found.family, f"an {OWN[found.family].title} folder"


def native_size(path: Path) -> int:
    """Side in pixels of the square pictures that a folder's model, or a file that a folder
    completes, was made for; 0 when nothing says it."""
    if path.is_dir():
        return stated_size(path)
    try:
        found = _complete_single_file(path)
    except CheckpointError:
        return 0
    return stated_size(found.folder) if isinstance(found, BasicModel) else 0


def needs_folder(family: str, path: Path) -> bool:
    """Whether a checkpoint is a single file that is completed by a folder beside it: what was
    found out about it holds only as long as that folder is there."""
    completed = {name for names in SINGLE_FILES.values() for name in names}
    return family in completed and not path.is_dir()


def read_folder(path: Path) -> BasicModel | None:
    """The model in a diffusers folder; None for a model of our own families.

    Raises:
        UnsafeCheckpointError: It holds code or pickles.
        CheckpointError: Its list of parts is damaged.
    """
    index = read_json(path, DIFFUSERS_INDEX)
    class_name = index.get("_class_name")
    if class_name is None or (isinstance(class_name, str) and PIPELINES.fullmatch(class_name)):
        return None
    _refuse_code(path, class_name)
    assert isinstance(class_name, str)
    parts = {name: part for name, value in index.items() if (part := _part(path, name, value))}
    for name, (_, part_class) in parts.items():
        _refuse_pickles(path, name)
        _refuse_remote_code(path, name, part_class)
    family, words = _family(class_name)
    left_out = tuple(name for name, value in index.items() if value == [None, None])
    return BasicModel(path, class_name, family, words, parts, left_out)


def _family(class_name: str) -> tuple[str, str]:
    stem = class_name.removesuffix("Pipeline")
    return FAMILIES.get(stem, (stem.lower(), stem))


def _refuse_code(path: Path, class_name: object) -> None:
    if not isinstance(class_name, str) or not _CLASS_NAME.fullmatch(class_name):
        raise UnsafeCheckpointError(
            f"{path.name} asks for a pipeline of its own, {class_name!r}. Only diffusers' own "
            "pipelines are run; it was refused.",
            "Get the version of this model for diffusers' own pipeline.",
            path=str(path),
        )
    for folder, _, files in os.walk(path):
        for file in files:
            if file.lower().endswith(CODE_ENDINGS):
                name = os.path.relpath(os.path.join(folder, file), path)
                raise UnsafeCheckpointError(
                    f"{path.name} holds code ({name}), which is never run here. It was refused.",
                    "Models of diffusers' own pipelines need none: delete the code if you trust "
                    "the rest, and press Refresh.",
                    path=str(path),
                )


def _part(path: Path, name: str, value: object) -> tuple[str, str] | None:
    """A line of the list of parts; None for settings and for parts that are left out."""
    if name.startswith("_") or not isinstance(value, list) or len(value) != 2:
        return None
    library, class_name = value
    if library is None or class_name is None:
        return None
    if not all(isinstance(part, str) and _NAME.fullmatch(part) for part in (library, class_name)):
        raise UnsafeCheckpointError(
            f"{path.name} asks for {value!r} as its {name}, which is no part of diffusers or "
            "transformers. It was refused.",
            "Get the model from a source you trust.",
            path=str(path),
        )
    return library, class_name


def _refuse_pickles(path: Path, part: str) -> None:
    try:
        files = [file.lower() for file in os.listdir(path / part)]
    except OSError as err:
        raise CheckpointError(
            f"{path.name} cannot be used: its {part} is missing.", "Get it again.", path=str(path)
        ) from err
    pickles = [file for file in files if file.endswith(PICKLE_ENDINGS)]
    if pickles and not any(file.endswith(".safetensors") for file in files):
        raise UnsafeCheckpointError(
            f"{path.name} holds its {part} as {pickles[0]}, a pickle, which could hide code.",
            "Get the folder with .safetensors files, or convert it.",
            path=str(path),
        )


def _refuse_remote_code(path: Path, part: str, class_name: str) -> None:
    """Classes that choose by a configuration may follow one to code on a hub."""
    if not class_name.startswith("Auto"):
        return
    for file in (path / part).glob("*config.json"):
        if "auto_map" in read_json(path, f"{part}/{file.name}"):
            raise UnsafeCheckpointError(
                f"The {part} of {path.name} asks for code from elsewhere ({file.name}), which is "
                "never run here. It was refused.",
                "Get the version of this model for diffusers' own pipeline.",
                path=str(path),
            )


def _complete_single_file(path: Path) -> BasicModel | CheckpointError | None:
    """The folder beside a single file that completes it; the error where there is none; None
    when the file is something else."""
    rule = find_rule(Keys(read_header(path)))
    if rule is None or rule.family not in SINGLE_FILES:
        return None
    for folder in _folders_beside(path):
        try:
            found = read_folder(folder)
        except CheckpointError:
            continue
        if found is not None and found.family in SINGLE_FILES[rule.family]:
            return replace(found, transformer=path)
    return UnknownArchitectureError(
        f"{path.name} is {rule.title} as a single file, which is painted with the other parts of "
        "its diffusers folder; none lies beside it.",
        "Put the model's diffusers folder (with model_index.json) into the same folder and press "
        "Refresh.",
        path=str(path),
        closest=[rule.title],
    )


def _folders_beside(path: Path) -> list[Path]:
    """Diffusers folders in the folder of a file, by name."""
    try:
        found = [entry for entry in path.parent.iterdir() if (entry / DIFFUSERS_INDEX).is_file()]
    except OSError:
        return []
    return sorted(found)


def weights_files(folder: Path) -> list[Path]:
    """The safetensors files of a part: of the variants that lie side by side («fp16») the one
    without a name, else the first.

    Source:
        Names as diffusers and transformers write them: ``<stem>.<variant>-00001-of-00003``, and
        of old ``<stem>-00001-of-00003.<variant>``.
    """
    groups: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        groups.setdefault(variant_of(file), []).append(file)
    return groups[min(groups)] if groups else []


def variant_of(file: Path) -> str:
    """The variant a weights file belongs to; '' = the plain one."""
    stem = re.sub(r"-\d{5}-of-\d{5}", "", file.name.removesuffix(".safetensors"))
    return stem.partition(".")[2]


def estimate_elements(model: BasicModel) -> dict[str, int]:
    """Elements of every part's weights, from headers alone.

    Raises:
        CheckpointError: A file cannot be read.
    """
    found: dict[str, int] = {}
    for part in model.parts:
        files = weights_files(model.folder / part)
        if part == LARGEST and model.transformer is not None:
            files = [model.transformer]
        tensors = [info for file in files for info in read_header(file).tensors.values()]
        if tensors:
            found[part] = sum(info.count for info in tensors)
    return found


LARGEST: Final = "transformer"
"""Name of the network that a single file holds."""
