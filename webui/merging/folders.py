"""A single file as a diffusers folder, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from webui.checkpoints.conversion import Source
from webui.checkpoints.families import FAMILIES
from webui.checkpoints.headers import TensorInfo
from webui.checkpoints.identify import identify_file
from webui.checkpoints.load import asked_prediction
from webui.checkpoints.load_parts import (
    PROJECTION,
    Place,
    build_unet,
    empty_parts,
    filled,
    part_files,
)
from webui.checkpoints.specs import ArchSpec
from webui.checkpoints.weights import RenamedWeights, dtype_of, open_weights
from webui.checkpoints.write import (
    NAMES,
    NewTensor,
    unfinished,
    whole,
    write_safetensors,
)
from webui.errors import CheckpointError
from webui.merging.convert import narrowed, wanted_format
from webui.merging.originals import single_file_tensors
from webui.merging.source import ModelFile
from webui.progress import Progress
from webui.prompts.tokenizer import END, START, ClipTokenizer

_PIPELINES: Final[Mapping[tuple[str, str], str]] = {
    ("sd", "paint"): "StableDiffusionPipeline",
    ("sd", "inpaint"): "StableDiffusionInpaintPipeline",
    ("sd", "edit"): "StableDiffusionInstructPix2PixPipeline",
    ("sdxl", "paint"): "StableDiffusionXLPipeline",
    ("sdxl", "inpaint"): "StableDiffusionXLInpaintPipeline",
    ("sdxl", "edit"): "StableDiffusionXLInstructPix2PixPipeline",
    ("sdxl-refiner", "paint"): "StableDiffusionXLImg2ImgPipeline",
}
_NO_CHECKER: Final[Mapping[str, Any]] = {
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
}
_CLASSES: Final[Mapping[str, tuple[str, str]]] = {
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
}
_SCHEDULER: Final[Mapping[str, Any]] = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
"""v1-inference.yaml's schedule in diffusers' words; the same for SD 2.x and SDXL."""


def write_single_file(file: ModelFile, path: Path, precision: str, progress: Progress) -> Path:
    """Write a diffusers folder as one file with the original names.

    Raises:
        CheckpointError: The folder cannot be read, or the file cannot be written.
        JobCancelled: The person asked to stop.
    """
    spec = identify_file(file.path)
    predicts = {"v_prediction": "v", "epsilon": "epsilon"}.get(spec.prediction_type)
    told = {"modelspec.prediction_type": predicts} if predicts else {}
    with single_file_tensors(file.path, precision) as tensors:
        if spec.zero_terminal_snr:
            tensors.append(whole("ztsnr", torch.zeros(0)))
        return write_safetensors(path, tensors, {**told, "format": "pt"}, progress)


def write_folder(file: ModelFile, path: Path, precision: str, progress: Progress) -> Path:
    """Write a checkpoint as a diffusers folder.

    Raises:
        CheckpointError: It cannot be read, lacks a part, or the folder cannot be written.
        JobCancelled: The person asked to stop; nothing is left behind.
    """
    spec = identify_file(file.path)
    if spec.missing:
        raise CheckpointError(
            f"{file.name} lacks {' and '.join(spec.missing)}, which a diffusers folder must have.",
            "Bake a VAE in first, or choose a complete checkpoint.",
            path=str(file.path),
        )
    with unfinished(path, 2 * file.path.stat().st_size) as part_folder:
        part_folder.mkdir()
        for part, (header, sources) in part_files(file.path, spec).items():
            with open_weights(header.path) as weights:
                tensors = _part_tensors(RenamedWeights(weights, sources), part, spec, precision)
                stem = "model" if part.startswith("text") else "diffusion_pytorch_model"
                target = part_folder / part / f"{stem}.safetensors"
                write_safetensors(target, tensors, {"format": "pt"}, progress)
        for name, values in _configs(spec, _is_v(file.path, spec)).items():
            _write_json(part_folder / name, values)
        _write_tokenizers(part_folder, spec)
    return path


def _part_tensors(
    weights: RenamedWeights, part: str, spec: ArchSpec, precision: str
) -> list[NewTensor]:
    expected = empty_parts(spec)[part].state_dict()
    has_prefix = part.startswith("text")
    found: list[NewTensor] = []
    for name, source in weights.sources.items():
        inner = f"text_model.{name}" if has_prefix and name != PROJECTION else name
        shape = expected.get(inner, expected.get(name))
        if shape is not None:
            found.append(_tensor(weights, name, inner, source, tuple(shape.shape), precision))
    return found


def _tensor(
    weights: RenamedWeights, name: str, new: str, source: Source, shape: tuple[int, ...],
    precision: str,
) -> NewTensor:  # fmt: skip
    info = weights.header.tensors[source.name]
    dtype = wanted_format(dtype_of(weights.header.path, info), precision)
    return NewTensor(
        new,
        TensorInfo(NAMES[dtype], shape),
        lambda: (narrowed(weights.read(name), dtype, new).reshape(shape),),
    )


def _is_v(path: Path, spec: ArchSpec) -> bool:
    """Whether the model predicts v; one that nothing is written about is asked."""
    if spec.prediction_type != "ask":
        return spec.prediction_type == "v_prediction"
    header, sources = part_files(path, spec)["unet"]
    here = Place(torch.device("cpu"), torch.float32)
    with open_weights(header.path) as weights:
        unet = filled(build_unet(spec.unet), weights, sources, here)
        return asked_prediction(unet, here) == "v_prediction"


def _configs(spec: ArchSpec, is_v: bool) -> dict[str, dict[str, Any]]:
    """Relative path → content of every configuration."""
    assert spec.vae is not None
    scheduler = {
        **_SCHEDULER,
        "prediction_type": "v_prediction" if is_v else "epsilon",
        "rescale_betas_zero_snr": spec.zero_terminal_snr,
    }
    found: dict[str, dict[str, Any]] = {
        "unet/config.json": {"_class_name": "UNet2DConditionModel", **spec.unet.config()},
        "vae/config.json": {"_class_name": "AutoencoderKL", **spec.vae.config()},
        "scheduler/scheduler_config.json": scheduler,
    }
    index: dict[str, Any] = {
        "_class_name": _pipeline(spec),
        "scheduler": ["diffusers", "DDIMScheduler"],
        **{part: list(names) for part, names in _CLASSES.items()},
    }
    for part, text in zip(FAMILIES[spec.family].texts, spec.texts, strict=True):
        kind = "CLIPTextModelWithProjection" if text.projection else "CLIPTextModel"
        config = {"architectures": [kind], "model_type": "clip_text_model", **text.config()}
        found[f"{part.folder}/config.json"] = config
        index[part.folder] = ["transformers", kind]
        index[_tokenizer(part.folder)] = ["transformers", "CLIPTokenizer"]
    if spec.family.startswith("sdxl"):
        index["force_zeros_for_empty_prompt"] = FAMILIES[spec.family].has_empty_negative
    else:
        index |= _NO_CHECKER
    found["model_index.json"] = index
    return found


def _pipeline(spec: ArchSpec) -> str:
    family = spec.family if spec.family.startswith("sdxl") else "sd"
    return _PIPELINES.get((family, spec.purpose), _PIPELINES[family, "paint"])


def _tokenizer(text_folder: str) -> str:
    return text_folder.replace("text_encoder", "tokenizer")


def _write_tokenizers(folder: Path, spec: ArchSpec) -> None:
    model: Any = ClipTokenizer.load().backend.model
    for part in FAMILIES[spec.family].texts:
        here = folder / _tokenizer(part.folder)
        here.mkdir()
        model.save(str(here))  # vocab.json and merges.txt
        filler = END if part.pad_token else "!"  # token 0
        _write_json(
            here / "tokenizer_config.json",
            {
                "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True,
                "bos_token": START, "eos_token": END, "unk_token": END, "pad_token": filler,
            },
        )  # fmt: skip


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", "utf-8")
