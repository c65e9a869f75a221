"""The shape of the model in a diffusers folder, read from its configuration files; no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from webui.checkpoints.families import CHOOSE_ANOTHER, FAMILIES, PAINTED
from webui.checkpoints.families.model import DiffusionModel, TextPart
from webui.checkpoints.joining import joined
from webui.checkpoints.scan import DIFFUSERS_INDEX
from webui.checkpoints.specs import (
    ArchSpec,
    SpecError,
    TextSpec,
    UNetSpec,
    VaeSpec,
    default_groups,
)
from webui.errors import CheckpointError, UnknownArchitectureError

SCHEDULER: Final = "scheduler/scheduler_config.json"
NETWORKS: Final = ("transformer", "unet")
"""What the network that denoises is called."""
NOT_TOLD: Final = ("time_cond_proj_dim", "class_embed_type", "num_class_embeds", "encoder_hid_dim")
"""Settings of diffusers' U-Nets that listen to the guidance, to classes, to other encoders: without
them they would paint, and wrongly."""
USUAL_FACTOR: Final = 8
"""Pixels to a latent's cell, where an autoencoder does not show it."""


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A configuration file of a model folder.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    try:
        value = json.loads((folder / name).read_text("utf-8-sig"))
    except FileNotFoundError as err:
        raise _unusable(folder, f"{name} is missing") from err
    except (OSError, ValueError, RecursionError) as err:
        raise _unusable(folder, f"{name} cannot be read ({err})") from err
    if not isinstance(value, dict):
        raise _unusable(folder, f"{name} is not a JSON object")
    return value


def _unusable(folder: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{folder.name} cannot be used: {what}.", "Get the folder again.", path=str(folder)
    )


def folder_pipeline(path: Path) -> str:
    """The diffusers pipeline that a folder's ``model_index.json`` names, '' when it names none.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    return str(read_json(path, DIFFUSERS_INDEX).get("_class_name") or "")


PIPELINES: Final = re.compile(r"StableDiffusion(XL)?(Img2Img|Inpaint|InstructPix2Pix)?Pipeline")
"""Of diffusers, what its folders of our families are called."""


def identify_folder(path: Path) -> ArchSpec:
    """The shape of the model in a diffusers folder (model_index.json and sub-folders).

    Raises:
        CheckpointError: A configuration is missing or damaged.
        UnknownArchitectureError: A pipeline that cannot be painted with here.
    """
    pipeline = folder_pipeline(path)
    if not PIPELINES.fullmatch(pipeline):
        raise UnknownArchitectureError(
            f"{path.name} is a {pipeline or 'unknown'} folder, and none of {PAINTED}.",
            CHOOSE_ANOTHER,
            path=str(path),
            closest=[f"a {pipeline or 'unknown'} folder"],
        )
    try:
        unet = read_json(path, "unet/config.json")
        parts = [p for p in ("text_encoder", "text_encoder_2") if (path / p).is_dir()]
        family = next((f for f in FAMILIES.values() if f.owns_folder(unet, parts)), None)
        if family is None:
            raise SpecError("its U-Net is of no family known here")
        return _folder_spec(path, family, unet)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as err:
        raise UnknownArchitectureError(
            f"{path.name} has a configuration that does not describe a model known here ({err}).",
            "Get the folder again, or use the single-file version.",
            path=str(path),
            closest=[f"a {pipeline} folder"],
        ) from err


def _folder_spec(path: Path, family: DiffusionModel, unet: Mapping[str, Any]) -> ArchSpec:
    schedule = read_json(path, SCHEDULER) if (path / SCHEDULER).exists() else {}
    prediction = schedule.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise SpecError(f"it predicts {prediction!r}")
    return joined(
        family,
        "diffusers",
        prediction,
        _folder_unet(unet),
        _folder_vae(read_json(path, "vae/config.json"), family),
        [_folder_text(read_json(path, f"{p.folder}/config.json"), p) for p in family.texts],
        dtype="F32",
        zero_terminal_snr=bool(schedule.get("rescale_betas_zero_snr", False)),
    )


def _folder_unet(unet: Mapping[str, Any]) -> UNetSpec:
    if told := [name for name in NOT_TOLD if unet.get(name)]:
        raise SpecError(f"its U-Net is told more than ours are: {', '.join(told)}")
    channels = tuple(map(int, unet["block_out_channels"]))
    heads = unet.get("num_attention_heads") or unet["attention_head_dim"]
    layers = unet.get("transformer_layers_per_block", 1)
    layers = [layers] * len(channels) if isinstance(layers, int) else list(map(int, layers))
    attention = [kind.startswith("CrossAttn") for kind in unet["down_block_types"]]
    return UNetSpec(
        in_channels=int(unet["in_channels"]),
        out_channels=int(unet["out_channels"]),
        channels=channels,
        res_blocks=int(unet["layers_per_block"]),
        depths=tuple(n if has else 0 for n, has in zip(layers, attention, strict=True)),
        context_dim=int(unet["cross_attention_dim"]),
        heads=heads if isinstance(heads, int) else tuple(map(int, heads)),
        groups=int(unet.get("norm_num_groups", default_groups(channels[0]))),
        linear_projection=bool(unet.get("use_linear_projection", False)),
        middle_depth=layers[-1],
        vector_dim=int(unet.get("projection_class_embeddings_input_dim") or 0),
    )


def _folder_vae(vae: Mapping[str, Any], family: DiffusionModel) -> VaeSpec:
    channels = tuple(map(int, vae["block_out_channels"]))
    return VaeSpec(
        channels=channels,
        res_blocks=int(vae["layers_per_block"]),
        groups=int(vae.get("norm_num_groups", default_groups(channels[0]))),
        latent_channels=int(vae["latent_channels"]),
        scaling_factor=float(vae.get("scaling_factor", family.scaling_factor)),
    )


def _folder_text(text: Mapping[str, Any], part: TextPart) -> TextSpec:
    return TextSpec(
        width=int(text["hidden_size"]),
        layers=int(text["num_hidden_layers"]),
        heads=int(text["num_attention_heads"]),
        intermediate=int(text["intermediate_size"]),
        vocabulary=int(text["vocab_size"]),
        positions=int(text["max_position_embeddings"]),
        activation=str(text.get("hidden_act", part.activation)),
        projection=int(text["projection_dim"]) if part.is_pooled else 0,
    )


def stated_size(folder: Path) -> int:
    """Side in pixels of the square pictures that the model of a diffusers folder was made for, as
    its configurations state it; 0 when they do not.

    Source: diffusers' pipelines paint at ``sample_size`` of the network, which counts cells of
    latents. Transformers that know no size of their own (FLUX) leave it to the autoencoder's.
    """
    network = next((part for part in NETWORKS if (folder / part).is_dir()), "")
    try:
        vae = read_json(folder, "vae/config.json")
        cells = read_json(folder, f"{network}/config.json").get("sample_size")
    except CheckpointError:
        return 0
    if type(cells) is int:
        return cells * _cell(vae)
    pixels = vae.get("sample_size")
    return pixels if type(pixels) is int else 0


def _cell(vae: Mapping[str, Any]) -> int:
    """Pixels to a latent's cell: each level of an autoencoder but one halves the picture."""
    levels = vae.get("block_out_channels") or vae.get("encoder_block_out_channels")
    return 2 ** (len(levels) - 1) if isinstance(levels, list) else USUAL_FACTOR
