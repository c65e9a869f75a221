"""The shape of the model in a weights file, or what the file is instead; no torch, no data.

rules.py tells which kind of file it is; here those of the families that are painted with
(``families/``) are read, from the shapes of their tensors or from a diffusers folder's
configuration files.
"""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from webui.checkpoints.conversion import has_open_clip_names, text_sources, vae_shape_names
from webui.checkpoints.families import FAMILIES, PAINTED
from webui.checkpoints.families.model import DiffusionModel, Frame, TextPart
from webui.checkpoints.headers import Header, TensorInfo, read_header
from webui.checkpoints.keys import UNET, VAE, Keys, Rule
from webui.checkpoints.rules import FOLDERS, closest_families, describe, find_rule
from webui.checkpoints.specs import (
    NUMBER_CHANNELS,
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
CHOOSE_ANOTHER: Final = f"Choose an {PAINTED.replace(' and', ' or')} checkpoint."


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
    return _joined(
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


def _joined(
    family: DiffusionModel,
    layout: str,
    prediction_type: str,
    unet: UNetSpec,
    vae: VaeSpec | None,
    texts: list[TextSpec],
    *,
    dtype: str,
    zero_terminal_snr: bool,
) -> ArchSpec:
    """Join the parts of a model.

    Raises:
        SpecError: The parts do not fit each other.
    """
    if unet.in_channels not in PURPOSES:
        raise SpecError(f"its U-Net takes {unet.in_channels} channels instead of 4, 8 or 9")
    purpose = PURPOSES[unet.in_channels]
    if purpose != "paint" and prediction_type == "ask":  # nobody trained such ones for v
        prediction_type = "epsilon"
    heads = zip(unet.channels, unet.heads_by_level, strict=True)
    if any(c % heads for c, heads in heads) or any(c % unet.groups for c in unet.channels):
        raise SpecError(f"its widths {unet.channels} do not divide by its heads and groups")
    if len(texts) == len(family.texts):
        _check_texts(family, unet, texts)
    return ArchSpec(
        family=family.name,
        purpose=purpose,
        layout=layout,
        prediction_type=prediction_type,
        unet=unet,
        vae=vae,
        texts=tuple(texts) if len(texts) == len(family.texts) else (),
        dtype=dtype,
        zero_terminal_snr=zero_terminal_snr,
    )


def _check_texts(family: DiffusionModel, unet: UNetSpec, texts: list[TextSpec]) -> None:
    width = sum(text.width for text in texts)
    if width != unet.context_dim:
        what = "text encoder is" if len(texts) == 1 else "text encoders together are"
        raise SpecError(f"its {what} {width} wide and its U-Net listens to {unet.context_dim}")
    numbers = NUMBER_CHANNELS * len(family.numbers(Frame(8, 8)))
    vector = numbers and numbers + sum(text.projection for text in texts)
    if vector != unet.vector_dim:
        raise SpecError(
            f"its text encoder and sizes make a vector of {vector} and its U-Net takes "
            f"{unet.vector_dim}"
        )


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


def folder_pipeline(path: Path) -> str:
    """The diffusers pipeline that a folder's ``model_index.json`` names, '' when it names none.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    return str(_read_json(path / "model_index.json").get("_class_name") or "")


PIPELINES: Final = re.compile(
    r"StableDiffusion(XL)?(Img2Img|Inpaint|InstructPix2Pix)?Pipeline|LatentConsistency.*Pipeline"
)
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
            f"{path.name} is a {pipeline or 'unknown'} folder; this version paints with {PAINTED}.",
            CHOOSE_ANOTHER,
            path=str(path),
            closest=[f"a {pipeline or 'unknown'} folder"],
        )
    try:
        unet = _read_json(path / "unet" / "config.json")
        parts = [p for p in ("text_encoder", "text_encoder_2") if (path / p).is_dir()]
        family = next((f for f in FAMILIES.values() if f.owns_folder(unet, parts)), None)
        if family is None:
            raise SpecError("its U-Net is of no family known here")
        return _folder_spec(path, family, unet)
    except (SpecError, KeyError, TypeError, ValueError) as err:
        raise UnknownArchitectureError(
            f"{path.name} has a configuration that does not describe a model known here ({err}).",
            "Get the folder again, or use the single-file version.",
            path=str(path),
            closest=[f"a {pipeline} folder"],
        ) from err


def _folder_spec(path: Path, family: DiffusionModel, unet: Mapping[str, Any]) -> ArchSpec:
    scheduler = path / "scheduler" / "scheduler_config.json"
    schedule = _read_json(scheduler) if scheduler.exists() else {}
    prediction = schedule.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise SpecError(f"it predicts {prediction!r}")
    return _joined(
        family,
        "diffusers",
        prediction,
        _folder_unet(unet),
        _folder_vae(_read_json(path / "vae" / "config.json"), family),
        [_folder_text(_read_json(path / p.folder / "config.json"), p) for p in family.texts],
        dtype="F32",
        zero_terminal_snr=bool(schedule.get("rescale_betas_zero_snr", False)),
    )


def _folder_unet(unet: Mapping[str, Any]) -> UNetSpec:
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
