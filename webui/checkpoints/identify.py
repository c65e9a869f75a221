"""The shape of the model in a weights file, or what the file is instead; no torch, no data.

rules.py tells which kind of file it is; here those of the families that are painted with
(``families/``) are read from the shapes of their tensors, and folders.py reads diffusers' folders.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from webui.checkpoints.conversion import has_open_clip_names, text_sources, vae_shape_names
from webui.checkpoints.families import CHOOSE_ANOTHER, FAMILIES, PAINTED
from webui.checkpoints.families.model import DiffusionModel, TextPart
from webui.checkpoints.folders import identify_folder
from webui.checkpoints.headers import Header, TensorInfo, read_header
from webui.checkpoints.joining import joined
from webui.checkpoints.keys import UNET, VAE, Keys, Rule
from webui.checkpoints.rules import FOLDERS, closest_families, describe, find_rule
from webui.checkpoints.specs import (
    ArchSpec,
    Shapes,
    SpecError,
    TextSpec,
    VaeSpec,
    read_text,
    read_unet,
    read_vae,
    stated_config,
)
from webui.errors import UnknownArchitectureError


def identify(header: Header) -> ArchSpec:
    """The shape of the model in a checkpoint file.

    Raises:
        UnknownArchitectureError: It is something else, or a model that cannot be painted with
            here; the message says what it is and the hint where it belongs.
    """
    keys = Keys(header)
    rule = find_rule(keys)
    name = header.path.name
    if rule is None:
        closest = closest_families(keys)
        guess = f" It is most like {closest[0]}." if closest else ""
        raise UnknownArchitectureError(
            f"{name} holds {len(header.tensors)} tensors, but no model known here.{guess}",
            CHOOSE_ANOTHER,
            path=str(header.path),
            closest=closest,
        )
    family = FAMILIES.get(rule.family) if rule.kind == "checkpoint" else None
    if family is None:
        raise UnknownArchitectureError(
            *_refusal(name, rule), path=str(header.path), closest=[rule.title]
        )
    try:
        return read_single_file(keys, family)
    except SpecError as err:
        raise UnknownArchitectureError(
            f"{name} looks like {rule.title}, but {err}.",
            "The file may be incomplete: download it again, or choose another one.",
            path=str(header.path),
            closest=[rule.title],
        ) from err


def misplaced(kind: str, header: Header) -> str:
    """Why a file of a checkpoint folder cannot be painted with, in words; '' when it can.

    Args:
        kind: By the folder it lies in; other kinds than ``checkpoint`` are not judged.
    """
    if kind != "checkpoint":
        return ""
    try:
        spec = identify(header)
    except UnknownArchitectureError as err:
        return str(err)
    if not spec.texts:
        return f"{header.path.name} holds no text encoder, so prompts cannot be read."
    return ""


def _refusal(name: str, rule: Rule) -> tuple[str, str]:
    if rule.kind == "checkpoint":
        return (
            f"{name} is {rule.title}; this version paints with {PAINTED}.",
            CHOOSE_ANOTHER,
        )
    folder = FOLDERS.get(rule.kind)
    hint = f"Move it to {folder}." if folder else "Choose a complete checkpoint."
    return f"{name} is {rule.title}, not a checkpoint.", hint


def common_dtype(tensors: Mapping[str, TensorInfo]) -> str:
    """The number format most of the weights have."""
    counts: collections.Counter[str] = collections.Counter()
    for info in tensors.values():
        counts[info.dtype] += info.count
    return counts.most_common(1)[0][0] if counts else "F32"


def read_single_file(keys: Keys, family: DiffusionModel) -> ArchSpec:
    """The shape of a single file of a family, of any width.

    Raises:
        SpecError: Its parts do not fit together.
    """
    stated = stated_config(keys.header.metadata)
    vae_tensors = keys.under(VAE)
    has_vae = "decoder.conv_in.weight" in vae_tensors
    factor = family.scaling_factor
    texts = [_text_spec(keys, part, stated) for part in family.texts]
    return joined(
        family,
        "ldm",
        _prediction_type(keys) or family.prediction_type,
        read_unet(keys.under(UNET), family, stated.get("unet", {})),
        read_vae(vae_tensors, stated.get("vae", {}), factor) if has_vae else None,
        [text for text in texts if text is not None],
        dtype=common_dtype(keys.tensors),
        zero_terminal_snr=keys.has("ztsnr"),
    )


def _text_spec(
    keys: Keys, part: TextPart, stated: Mapping[str, Mapping[str, Any]]
) -> TextSpec | None:
    """None when the file does not hold that text encoder."""
    tensors = keys.under(text_prefix(keys, part))
    sources = text_sources(tensors)
    shapes = {
        name: TensorInfo(tensors[source.name].dtype, source.shape(tensors[source.name]))
        for name, source in sources.items()
        if tensors[source.name].shape
    }
    if "embeddings.token_embedding.weight" not in shapes:
        return None
    unused = part.unused_layers if has_open_clip_names(tensors) else 0
    return read_text(shapes, part, stated.get(part.folder.replace("_encoder", ""), {}), unused)


def text_prefix(keys: Keys, part: TextPart) -> str:
    """What the names of a text encoder begin with in this file."""
    return next((prefix for prefix in part.prefixes if keys.begins(prefix)), part.prefixes[0])


def _prediction_type(keys: Keys) -> str:
    """v-prediction shows in a marker tensor, in the model-spec metadata, or in a .yaml beside it;
    '' when nothing is said.

    Source: the marker ``v_pred`` is what trainers of v models write; ``modelspec.prediction_type``
    and ``modelspec.architecture`` ("stable-diffusion-v2-768-v") are Stability's ModelSpec 1.0;
    ``parameterization: "v"`` and ``VScaling`` are the original configuration files'.
    """
    metadata = keys.header.metadata
    stated = metadata.get("modelspec.prediction_type", "")
    if keys.has("v_pred") or stated in ("v", "v_prediction"):
        return "v_prediction"
    if metadata.get("modelspec.architecture", "").partition("/")[0].endswith("768-v"):
        return "v_prediction"
    if stated in ("epsilon", "eps"):
        return "epsilon"
    try:
        text = keys.header.path.with_suffix(".yaml").read_text("utf-8", errors="replace")
    except OSError:
        return ""
    is_v = re.search(
        r"^\s*parameterization:\s*[\"']?v[\"']?\s*(#.*)?$|denoiser_scaling\.VScaling\b",
        text,
        re.MULTILINE,
    )
    return "v_prediction" if is_v else "epsilon"


def identify_file(path: Path) -> ArchSpec:
    """``identify`` for a file or a diffusers folder.

    Raises:
        CheckpointError: Unreadable, unsafe or unknown.
    """
    if path.is_dir():
        return identify_folder(path)
    return identify(read_header(path))


def identify_vae(header: Header) -> VaeSpec:
    """The shape of a separate VAE file, with original or diffusers names.

    Raises:
        UnknownArchitectureError: It is no VAE, or one for other latents than SD's four channels.
    """
    tensors = vae_tensors(header.tensors)
    name = header.path.name
    try:
        spec = read_vae(tensors, stated_config(header.metadata).get("vae", {}))
    except SpecError as err:
        what = describe(header).title
        raise UnknownArchitectureError(
            f"{name} is {what}, not a VAE that can be used here ({err}).",
            "Choose another VAE, or None.",
            path=str(header.path),
            closest=[what],
        ) from err
    if spec.latent_channels != 4:
        raise UnknownArchitectureError(
            f"{name} is a VAE for {spec.latent_channels}-channel latents; {PAINTED} have 4.",
            "Choose another VAE, or None.",
            path=str(header.path),
            closest=["a VAE of a newer model"],
        )
    return spec


def vae_tensors(tensors: Shapes) -> dict[str, TensorInfo]:
    """The VAE inside a file by original names without prefix, whichever names it uses."""
    plain = {name.removeprefix(VAE).removeprefix("vae."): info for name, info in tensors.items()}
    names = vae_shape_names(plain)
    return {names[name]: info for name, info in plain.items()}
