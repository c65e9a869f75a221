"""Say what a weights file is from its tensors' names and shapes; no torch, no data.

One table of rules, tried in order. A rule names what it recognises; rules for models that can be
painted with also read the model's shape. To add an architecture: write its rule and its reader.
"""

from __future__ import annotations

import collections
import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from webui.checkpoints.conversion import text_name, vae_shape_names
from webui.checkpoints.headers import Header, TensorInfo, read_header
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

UNET: Final = "model.diffusion_model."
VAE: Final = "first_stage_model."
CLIP: Final = "cond_stage_model.transformer."
OPEN_CLIP: Final = "cond_stage_model.model."

PURPOSES: Final = {4: "paint", 9: "inpaint", 8: "edit"}
"""By input channels of the U-Net: latents; + mask and masked picture; + picture to edit."""

FOLDERS: Final = {
    "lora": "models/Lora",
    "vae": "models/VAE",
    "vae-approx": "models/VAE-approx",
    "embedding": "embeddings",
    "hypernetwork": "models/hypernetworks",
    "upscaler": "models/ESRGAN",
    "controlnet": "models/ControlNet",
    "face": "models/GFPGAN",
}
"""Where each kind of file belongs."""


@dataclass(frozen=True)
class Finding:
    """What a file is.

    Attributes:
        kind: ``checkpoint``, ``lora``, ``vae``, ``embedding``, ``upscaler`` … or ``unknown``.
        family: ``sd1``, ``sd2``, ``sdxl`` … or empty where it does not matter or show.
        title: In words, with article: "an SDXL checkpoint".
    """

    kind: str
    family: str
    title: str


class Keys:
    """Quick questions about a file's tensor names."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.tensors = header.tensors
        self._text = "\n" + "\n".join(header.tensors) + "\n"

    def has(self, *names: str) -> bool:
        """All these tensors are there."""
        return all(name in self.tensors for name in names)

    def begins(self, *prefixes: str) -> bool:
        """For each prefix some tensor's name begins with it."""
        return all(f"\n{prefix}" in self._text for prefix in prefixes)

    def contains(self, *parts: str) -> bool:
        """Each part occurs somewhere in some name."""
        return all(part in self._text for part in parts)

    def ends(self, *endings: str) -> bool:
        """For each ending some tensor's name ends with it."""
        return all(f"{ending}\n" in self._text for ending in endings)

    def size(self, name: str, axis: int) -> int:
        """Length of one axis of a tensor, 0 when there is no such tensor or axis."""
        info = self.tensors.get(name)
        return info.shape[axis] if info is not None and axis < len(info.shape) else 0

    def under(self, prefix: str) -> dict[str, TensorInfo]:
        """The tensors below a prefix, which is cut off."""
        cut = len(prefix)
        return {n[cut:]: info for n, info in self.tensors.items() if n.startswith(prefix)}

    def any_size(self, ending: str, axis: int) -> int:
        """``size`` of the first tensor whose name ends so."""
        for name in self.tensors:
            if name.endswith(ending):
                return self.size(name, axis)
        return 0

    @property
    def context_dim(self) -> int:
        """Width of the text the U-Net listens to, 0 when it has no cross-attention."""
        return self.any_size("attn2.to_k.weight", 1)


@dataclass(frozen=True)
class Rule:
    """One kind of file: how to tell it, and how to read its shape if we can use it."""

    kind: str
    family: str
    title: str
    matches: Callable[[Keys], bool]
    read: Callable[[Keys], ArchSpec] | None = None


def _is_unet(keys: Keys) -> bool:
    return keys.has(f"{UNET}input_blocks.0.0.weight", f"{UNET}out.2.weight")


def _is_sdxl(keys: Keys) -> bool:
    return keys.begins("conditioner.embedders.1.") or (
        _is_unet(keys) and keys.begins(f"{UNET}label_emb.") and keys.context_dim == 2048
    )


def _is_refiner(keys: Keys) -> bool:
    if not (_is_unet(keys) and keys.begins(f"{UNET}label_emb.")):
        return False
    return keys.context_dim == 1280


def _is_sd2(keys: Keys) -> bool:
    return keys.begins(OPEN_CLIP) or (
        _is_unet(keys) and keys.context_dim == 1024 and not keys.begins(CLIP)
    )


def _is_sd1(keys: Keys) -> bool:
    if not _is_unet(keys) or keys.begins(f"{UNET}label_emb."):
        return False
    return keys.begins(CLIP) or keys.context_dim == 768


def _is_lora(keys: Keys) -> bool:
    return (
        keys.ends(".lora_down.weight")
        or keys.contains(".lora_A.")
        or keys.contains(".lora.down.")
        or keys.ends(".hada_w1_a")
        or keys.contains(".lokr_w")
        or keys.contains(".oft_blocks")
        or keys.contains(".oft_diag")
        or keys.contains("_lora.down.weight")
        or (keys.begins("lora_unet_") and keys.ends(".diff"))
    )


def _is_vae(keys: Keys) -> bool:
    return any(
        keys.has(f"{p}decoder.conv_in.weight", f"{p}encoder.conv_in.weight")
        for p in ("", VAE, "vae.")
    ) or keys.has("decoder.conv_in.weight", "decoder.conv_out.weight")


def _is_embedding(keys: Keys) -> bool:
    if keys.begins("string_to_param") or keys.has("emb_params"):
        return True
    if keys.has("clip_l", "clip_g"):
        return True
    shapes = [info.shape for info in keys.tensors.values()]
    return len(shapes) == 1 and len(shapes[0]) in (1, 2) and shapes[0][-1] in (768, 1024, 1280)


def _is_upscaler(keys: Keys) -> bool:
    return (
        keys.has("conv_first.weight")
        or keys.has("model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight")
        or keys.has("body.0.weight", "body.1.weight")
        or keys.contains("RDB1.conv1")
        or keys.contains("relative_position_bias_table")
    )


RULES: Final[tuple[Rule, ...]] = (
    Rule("lora", "", "a LoRA", _is_lora),
    Rule(
        "controlnet",
        "",
        "a ControlNet",
        lambda k: (
            k.begins("control_model.") or k.begins("controlnet_cond_embedding.")
            or k.begins("zero_convs.") or k.begins("controlnet_blocks.")
        ),
    ),
    Rule("controlnet", "", "a T2I-Adapter", lambda k: k.begins("adapter.body.", "adapter.conv_in")),
    Rule("controlnet", "", "an IP-Adapter", lambda k: k.begins("image_proj.", "ip_adapter.")),
    Rule("checkpoint", "svd", "a Stable Video Diffusion checkpoint",
         lambda k: _is_unet(k) and k.contains(".time_stack.")),
    Rule("checkpoint", "animatediff", "an AnimateDiff motion module",
         lambda k: k.contains("motion_modules.")),
    Rule("checkpoint", "zero123", "a Zero123 checkpoint", lambda k: k.begins("cc_projection.")),
    Rule("checkpoint", "sdxl", "an SDXL checkpoint", _is_sdxl),
    Rule("checkpoint", "sdxl-refiner", "an SDXL refiner checkpoint", _is_refiner),
    Rule("checkpoint", "sd2", "an SD 2.x checkpoint", _is_sd2),
    Rule("checkpoint", "sd1", "an SD 1.x checkpoint", _is_sd1, lambda k: read_sd1(k)),
    Rule("checkpoint", "sd3", "an SD 3 checkpoint",
         lambda k: k.contains("joint_blocks.") and k.contains("x_embedder.")),
    Rule("checkpoint", "chroma", "a Chroma checkpoint",
         lambda k: k.contains("distilled_guidance_layer.")),
    Rule("checkpoint", "flux", "a Flux checkpoint",
         lambda k: k.contains("double_blocks.") and k.contains("single_blocks.")
         and k.contains("img_in.")),
    Rule("checkpoint", "auraflow", "an AuraFlow checkpoint",
         lambda k: k.contains("double_layers.") and k.contains("single_layers.")),
    Rule("checkpoint", "cascade", "a Stable Cascade checkpoint",
         lambda k: k.contains("clip_txt_mapper.") or k.contains("clip_txt_pooled_mapper.")),
    Rule("checkpoint", "pixart", "a PixArt checkpoint", lambda k: k.contains("adaln_single.")),
    Rule("checkpoint", "hunyuan-dit", "a Hunyuan-DiT checkpoint",
         lambda k: k.contains("mlp_t5.") or k.contains("style_embedder.")),
    Rule("checkpoint", "qwen-image", "a Qwen-Image checkpoint",
         lambda k: k.contains("transformer_blocks.0.img_mod.", "txt_norm.")),
    Rule("checkpoint", "lumina", "a Lumina or Z-Image checkpoint",
         lambda k: k.contains("cap_embedder.")),
    Rule("checkpoint", "wan", "a Wan video checkpoint",
         lambda k: k.contains("blocks.0.cross_attn.k.", "patch_embedding.")),
    Rule("checkpoint", "ltx", "an LTX video checkpoint",
         lambda k: k.contains("patchify_proj.")),
    Rule("unet", "", "the U-Net of a model, without VAE and text encoder",
         lambda k: _is_unet(k) or k.begins("down_blocks.0.resnets.")
         or k.has("input_blocks.0.0.weight", "out.2.weight")),
    Rule("vae", "", "a VAE", _is_vae),
    Rule("vae-approx", "", "a small approximate VAE",
         lambda k: k.begins("decoder.layers.") or k.has("1.weight", "3.conv.0.weight")),
    Rule("embedding", "", "an embedding", _is_embedding),
    Rule("face", "", "a face restoration model",
         lambda k: k.contains("stylegan_decoder") or k.contains("fuse_convs_dict")),
    Rule("upscaler", "", "an upscaler", _is_upscaler),
    Rule("text-encoder", "", "a T5 text encoder", lambda k: k.contains(".SelfAttention.q.weight")),
    Rule("clip-vision", "", "a CLIP picture encoder",
         lambda k: k.begins("vision_model.") or k.begins("visual.")),
    Rule("text-encoder", "", "a CLIP text encoder",
         lambda k: k.contains("embeddings.token_embedding.weight")
         or k.ends("token_embedding.weight")),
    Rule("hypernetwork", "", "a hypernetwork",
         lambda k: bool(k.tensors) and all(re.match(r"\d{3,4}\.", n) for n in k.tensors)),
)  # fmt: skip


def _lora_family(header: Header, keys: Keys) -> str:
    """The family a LoRA was made for, by its metadata, else by its widths; '' when unclear."""
    meta = header.metadata
    if meta.get("ss_base_model_version", "").startswith("sdxl_"):
        return "sdxl"
    if meta.get("ss_v2") == "True":
        return "sd2"
    if meta.get("ss_base_model_version", "").startswith("sd_v1"):
        return "sd1"
    if keys.contains("lora_te2_") or keys.contains("input_blocks_4_1_transformer_blocks_1"):
        return "sdxl"
    if keys.contains("double_blocks"):
        return "flux"
    width = keys.any_size("attn2_to_k.lora_down.weight", 1)
    return {768: "sd1", 1024: "sd2", 2048: "sdxl"}.get(width, "")


def find_rule(keys: Keys) -> Rule | None:
    """The first rule that recognises the file."""
    return next((rule for rule in RULES if rule.matches(keys)), None)


def describe(header: Header) -> Finding:
    """Say what a file is. Never fails; unrecognised files have the kind ``unknown``."""
    keys = Keys(header)
    rule = find_rule(keys)
    if rule is None:
        return Finding("unknown", "", f"{len(header.tensors)} tensors of no model known here")
    family = rule.family or (_lora_family(header, keys) if rule.kind == "lora" else "")
    return Finding(rule.kind, family, rule.title)


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
    if rule.read is None:
        raise UnknownArchitectureError(
            *_refusal(name, rule), path=str(header.path), closest=[rule.title]
        )
    try:
        return rule.read(keys)
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


def closest_families(keys: Keys) -> list[str]:
    """Titles of known models whose top-level names resemble the file's, best first."""
    words = {name.split(".")[0] for name in keys.tensors}
    known = {
        "an SD 1.x checkpoint": ["model", "first_stage_model", "cond_stage_model"],
        "an SDXL checkpoint": ["model", "first_stage_model", "conditioner"],
        "a diffusers U-Net": ["down_blocks", "up_blocks", "mid_block", "time_embedding"],
        "a VAE": ["encoder", "decoder", "quant_conv", "post_quant_conv"],
        "a text encoder": ["text_model", "encoder", "embeddings", "final_layer_norm"],
    }
    scores = {}
    for title, names in known.items():
        hits = sum(bool(difflib.get_close_matches(n, words, 1, 0.9)) for n in names)
        scores[title] = hits / len(names)
    return [t for t in sorted(scores, key=lambda t: -scores[t]) if scores[t] >= 0.5]


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
