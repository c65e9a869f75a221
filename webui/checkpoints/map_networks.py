"""Networks that make maps for ControlNets, as they lie in the model folders; no torch.

Each is one file under the name its makers gave it, or a folder of transformers whose
``config.json`` says what it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from webui.checkpoints.describers import WEIGHTS, folders_in, model_type_of
from webui.errors import CheckpointNotFoundError

MapNetworkKind = Literal[
    "dpt", "depth_anything", "body_pose", "hand_pose", "face_pose", "hed", "pidinet", "drawing",
    "anime_drawing",
]  # fmt: skip
FOLDERS: Final = (
    "controlnetpreprocessor", "controlnet_preprocessor", "annotators", "depthanything",
    "depth_anything", "midas", "openpose",
)  # fmt: skip
"""Below a models folder, in lower case: case is ignored. Forge's, and ComfyUI's nodes'."""
OF_EXTENSIONS: Final = (
    Path("extensions", "sd-webui-controlnet", "annotator", "downloads"),
    Path("custom_nodes", "comfyui_controlnet_aux", "ckpts"),
)
"""Where the ControlNet extension of A1111 and the nodes for ComfyUI keep theirs."""
ENDINGS: Final = (".safetensors", ".pth", ".pt", ".bin")
MAX_DEPTH: Final = 4


@dataclass(frozen=True)
class WantedNetwork:
    """A network that preprocessors need.

    Attributes:
        kind: Which network it is.
        file: As its makers call it. source: Where they publish it.
        stems: What the names of its files begin with, in lower case.
        model_type: Of its folders of transformers; '' = there are none.
        word: What the name of such a folder holds. without: What no name of it holds.
    """

    kind: MapNetworkKind
    file: str
    source: str
    stems: tuple[str, ...]
    model_type: str = ""
    word: str = ""
    without: str = "\0"

    def is_file(self, stem: str) -> bool:
        """Whether a file of that name is it."""
        lower = stem.lower()
        return lower.startswith(self.stems) and self.without not in lower

    def is_folder(self, name: str, model_type: str) -> bool:
        """Whether a folder of transformers of that name is it."""
        lower = name.lower()
        is_named_so = self.word in lower and self.without not in lower
        return bool(self.model_type) and model_type == self.model_type and is_named_so


def _annotator(kind: MapNetworkKind, file: str, without: str = "\0") -> WantedNetwork:
    """One of lllyasviel's Annotators."""
    source = f"https://huggingface.co/lllyasviel/Annotators/resolve/main/{file}"
    stem = file.rpartition(".")[0].lower()
    return WantedNetwork(kind, file, source, (stem,), without=without)


WANTED: Final[dict[str, WantedNetwork]] = {
    "depth_midas": WantedNetwork(
        "dpt", "dpt_hybrid-midas-501f0c75.pt",
        "https://huggingface.co/lllyasviel/ControlNet/resolve/main/annotator/ckpts/"
        "dpt_hybrid-midas-501f0c75.pt",
        ("dpt_hybrid-midas", "dpt_large-midas", "dpt_hybrid_midas", "dpt_large_midas"), "dpt",
    ),
    "depth_anything": WantedNetwork(
        "depth_anything", "depth_anything_vitl14.pth",
        "https://huggingface.co/spaces/LiheYoung/Depth-Anything/resolve/main/checkpoints/"
        "depth_anything_vitl14.pth",
        ("depth_anything_vit",), "depth_anything", without="v2",
    ),
    "depth_anything_v2": WantedNetwork(
        "depth_anything", "depth_anything_v2_vits.pth",
        "https://huggingface.co/depth-anything/Depth-Anything-V2-Small/resolve/main/"
        "depth_anything_v2_vits.pth",
        ("depth_anything_v2_vit",), "depth_anything", word="v2",
    ),
    "openpose": _annotator("body_pose", "body_pose_model.pth"),
    "openpose_hand": _annotator("hand_pose", "hand_pose_model.pth"),
    "openpose_face": _annotator("face_pose", "facenet.pth"),
    "hed": _annotator("hed", "ControlNetHED.pth"),
    "pidinet": _annotator("pidinet", "table5_pidinet.pth", without="pidinet-"),
    "lineart": _annotator("drawing", "sk_model.pth", without="sk_model2"),
    "lineart_coarse": _annotator("drawing", "sk_model2.pth"),
    "lineart_anime": _annotator("anime_drawing", "netG.pth"),
}  # fmt: skip
"""By name; ``preprocessors.names`` tells who needs which."""


def find_map_networks(models: Iterable[Path], programs: Iterable[Path] = ()) -> dict[str, Path]:
    """Files, or folders of transformers, by the network's name; of several, the first.

    Args:
        models: Folders with A1111's or ComfyUI's sub-folders. programs: Folders of A1111 and
            ComfyUI themselves.
    """
    found: dict[str, Path] = {}
    for top in _tops(models, programs):
        for path, model_type in _candidates(top, MAX_DEPTH):
            for name, wanted in WANTED.items():
                is_it = (
                    wanted.is_folder(path.name, model_type)
                    if model_type
                    else wanted.is_file(path.stem)
                )
                if is_it:
                    found.setdefault(name, path)
    return found


def missing_map_networks(preprocessor: str, networks: Sequence[str]) -> CheckpointNotFoundError:
    """Why a preprocessor cannot work, and which files are wanted where."""
    wanted = [WANTED[network] for network in networks]
    files = ", ".join(one.file for one in wanted)
    sources = ", ".join(one.source for one in wanted)
    return CheckpointNotFoundError(
        f"The preprocessor {preprocessor} needs {files}, which is not there.",
        f"Put it from {sources} into models/ControlNetPreprocessor.",
        wanted=files,
    )


def _tops(models: Iterable[Path], programs: Iterable[Path]) -> Iterator[Path]:
    for root in dict.fromkeys(models):
        yield from (path for path in folders_in(root) if path.name.lower() in FOLDERS)
    for program in dict.fromkeys(programs):
        yield from (path for path in (program / place for place in OF_EXTENSIONS) if path.is_dir())


def _candidates(folder: Path, depth: int) -> Iterator[tuple[Path, str]]:
    """Files that may hold weights, and folders of transformers with what they say they are."""
    model_type = model_type_of(folder)
    if model_type and any((folder / name).is_file() for name in WEIGHTS):
        yield folder, model_type
        return
    try:
        with os.scandir(folder) as entries:
            files = sorted(e.name for e in entries if e.name.lower().endswith(ENDINGS))
    except OSError:
        return
    yield from ((folder / name, "") for name in files if (folder / name).is_file())
    if depth:
        for below in folders_in(folder):
            yield from _candidates(below, depth - 1)
