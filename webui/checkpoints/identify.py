"""The shape of the model in a weights file, or what the file is instead; no torch, no data.

rules.py tells which kind of file it is; here the kinds that can be painted with are read. To add
an architecture: write its rule there and its reader here (``READERS``).
"""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from webui.checkpoints.conversion import text_name, vae_shape_names
from webui.checkpoints.headers import Header, TensorInfo, read_header
from webui.checkpoints.rules import (
    CLIP,
    FOLDERS,
    UNET,
    VAE,
    Keys,
    Rule,
    closest_families,
    describe,
    find_rule,
)
from webui.checkpoints.specs import (
    ArchSpec,
    Shapes,
    SpecError,
    TextSpec,
    UNetSpec,
    VaeSpec,
    default_groups,
    read_text,
    read_unet,
    read_vae,
    stated_config,
)
from webui.errors import CheckpointError, UnknownArchitectureError

PURPOSES: Final = {4: "paint", 9: "inpaint", 8: "edit"}
"""By input channels of the U-Net: latents; + mask and masked picture; + picture to edit."""


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
            "Choose an SD 1.x checkpoint.",
            path=str(header.path),
            closest=closest,
        )
    read = READERS.get(rule.family)
    if read is None:
        raise UnknownArchitectureError(
            *_refusal(name, rule), path=str(header.path), closest=[rule.title]
        )
    try:
        return read(keys)
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
    if spec.text is None:
        return f"{header.path.name} holds no text encoder, so prompts cannot be read."
    return ""


def _refusal(name: str, rule: Rule) -> tuple[str, str]:
    if rule.kind == "checkpoint":
        return (
            f"{name} is {rule.title}; this version paints with SD 1.x only.",
            "Choose an SD 1.x checkpoint.",
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


def read_sd1(keys: Keys) -> ArchSpec:
    """The shape of an SD 1.x single file, of any width.

    Raises:
        SpecError: Its parts do not fit together.
    """
    stated = stated_config(keys.header.metadata)
    unet = read_unet(keys.under(UNET), stated.get("unet", {}))
    vae_tensors = keys.under(VAE)
    has_vae = "decoder.conv_in.weight" in vae_tensors
    vae = read_vae(vae_tensors, stated.get("vae", {})) if has_vae else None
    text_tensors = text_shapes(keys.under(CLIP))
    has_text = "embeddings.token_embedding.weight" in text_tensors
    text = read_text(text_tensors, stated.get("text", {})) if has_text else None
    return sd1_spec(keys, unet, vae, text, layout="ldm")


def text_shapes(tensors: Shapes) -> dict[str, TensorInfo]:
    """A CLIP text encoder's tensors under flat names."""
    return {text_name(name): info for name, info in tensors.items()}


def sd1_spec(
    keys: Keys, unet: UNetSpec, vae: VaeSpec | None, text: TextSpec | None, layout: str
) -> ArchSpec:
    """Join the parts of an SD 1.x model.

    Raises:
        SpecError: The parts do not fit each other.
    """
    if unet.in_channels not in PURPOSES:
        raise SpecError(f"its U-Net takes {unet.in_channels} channels instead of 4, 8 or 9")
    if text is not None and text.width != unet.context_dim:
        raise SpecError(
            f"its text encoder is {text.width} wide and its U-Net listens to {unet.context_dim}"
        )
    if any(c % unet.heads or c % unet.groups for c in unet.channels):
        raise SpecError(f"its widths {unet.channels} do not divide by its heads and groups")
    return ArchSpec(
        family="sd1",
        purpose=PURPOSES[unet.in_channels],
        layout=layout,
        prediction_type=_prediction_type(keys),
        unet=unet,
        vae=vae,
        text=text,
        dtype=common_dtype(keys.tensors),
        zero_terminal_snr=keys.has("ztsnr"),
    )


def _prediction_type(keys: Keys) -> str:
    """v-prediction shows in a marker tensor, in the model-spec metadata, or in a .yaml beside it.

    Source: the marker ``v_pred`` is what trainers of v models write; ``modelspec.prediction_type``
    is Stability's ModelSpec 1.0; ``parameterization: "v"`` is the original configuration file.
    """
    stated = keys.header.metadata.get("modelspec.prediction_type", "")
    if keys.has("v_pred") or stated in ("v", "v_prediction"):
        return "v_prediction"
    try:
        text = keys.header.path.with_suffix(".yaml").read_text("utf-8", errors="replace")
    except OSError:
        return "epsilon"
    is_v = re.search(r"^\s*parameterization:\s*[\"']?v[\"']?\s*(#.*)?$", text, re.MULTILINE)
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
            f"{name} is a VAE for {spec.latent_channels}-channel latents; SD 1.x has 4.",
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


def identify_folder(path: Path) -> ArchSpec:
    """The shape of the model in a diffusers folder (model_index.json and sub-folders).

    Raises:
        CheckpointError: A configuration is missing or damaged.
        UnknownArchitectureError: A pipeline that cannot be painted with here.
    """
    index = _read_json(path / "model_index.json")
    pipeline = index.get("_class_name", "")
    supported = {
        "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline", "StableDiffusionInstructPix2PixPipeline",
    }  # fmt: skip
    unet = _read_json(path / "unet" / "config.json") if pipeline in supported else {}
    if not unet or unet.get("cross_attention_dim") == 1024 or unet.get("use_linear_projection"):
        what = "an SD 2.x folder" if unet else f"a {pipeline or 'unknown'} folder"
        raise UnknownArchitectureError(
            f"{path.name} is {what}; this version paints with SD 1.x only.",
            "Choose an SD 1.x checkpoint.",
            path=str(path),
            closest=[what],
        )
    try:
        return _folder_spec(path, unet)
    except (SpecError, KeyError, TypeError, ValueError) as err:
        raise UnknownArchitectureError(
            f"{path.name} has a configuration that does not describe an SD 1.x model ({err}).",
            "Get the folder again, or use the single-file version.",
            path=str(path),
            closest=["an SD 1.x folder"],
        ) from err


def _folder_spec(path: Path, unet: dict[str, Any]) -> ArchSpec:
    channels = tuple(map(int, unet["block_out_channels"]))
    heads = unet.get("num_attention_heads") or unet["attention_head_dim"]
    if not isinstance(heads, int):
        raise SpecError("its heads differ from level to level")
    vae, text = _read_json(path / "vae" / "config.json"), None
    text = _read_json(path / "text_encoder" / "config.json")
    vae_channels = tuple(map(int, vae["block_out_channels"]))
    scheduler = path / "scheduler" / "scheduler_config.json"
    schedule = _read_json(scheduler) if scheduler.exists() else {}
    header = Header(path, "diffusers", {})
    spec = sd1_spec(
        Keys(header),
        UNetSpec(
            in_channels=int(unet["in_channels"]),
            out_channels=int(unet["out_channels"]),
            channels=channels,
            res_blocks=int(unet["layers_per_block"]),
            attention=tuple(t.startswith("CrossAttn") for t in unet["down_block_types"]),
            context_dim=int(unet["cross_attention_dim"]),
            heads=heads,
            groups=int(unet.get("norm_num_groups", default_groups(channels[0]))),
        ),
        VaeSpec(
            channels=vae_channels,
            res_blocks=int(vae["layers_per_block"]),
            groups=int(vae.get("norm_num_groups", default_groups(vae_channels[0]))),
            latent_channels=int(vae["latent_channels"]),
            scaling_factor=float(vae.get("scaling_factor", 0.18215)),
        ),
        TextSpec(
            width=int(text["hidden_size"]),
            layers=int(text["num_hidden_layers"]),
            heads=int(text["num_attention_heads"]),
            intermediate=int(text["intermediate_size"]),
            vocabulary=int(text["vocab_size"]),
            positions=int(text["max_position_embeddings"]),
        ),
        layout="diffusers",
    )
    is_v = schedule.get("prediction_type") == "v_prediction"
    return ArchSpec(
        **{
            **vars(spec),
            "prediction_type": "v_prediction" if is_v else "epsilon",
            "zero_terminal_snr": bool(schedule.get("rescale_betas_zero_snr", False)),
        }
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as err:
        raise CheckpointError(
            f"{path} is missing from the model folder.", "Get the folder again.", path=str(path)
        ) from err
    except (OSError, ValueError) as err:
        raise CheckpointError(
            f"{path} cannot be read ({err}).", "Get the folder again.", path=str(path)
        ) from err
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a JSON object.", "Get it again.", path=str(path))
    return value


READERS: Final[dict[str, Callable[[Keys], ArchSpec]]] = {"sd1": read_sd1}
"""Families that can be painted with, and how their shape is read."""
