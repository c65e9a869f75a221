"""Checkpoints without tensors: names, shapes and dtypes of real layouts, to judge identification.

``PYTHONPATH=. python tests/checkpoints/stripped.py`` writes tests/data/stripped/ again. Original
(LDM) names come from diffusers' module tree through our tables read backwards; whether those
tables are right is judged elsewhere, against diffusers' own loader (test_load.py).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path

from webui.checkpoints.headers import Header, TensorInfo
from webui.checkpoints.specs import TextSpec, UNetSpec, VaeSpec

DATA = Path(__file__).parent.parent / "data" / "stripped"
SD1_UNET = UNetSpec(4, 4, (320, 640, 1280, 1280), 2, (True, True, True, False), 768, 8, 32)
SD1_VAE = VaeSpec((128, 256, 512, 512), 2, 32)
SD1_TEXT = TextSpec(768, 12, 12, 3072)
Shapes = dict[str, tuple[str, tuple[int, ...]]]

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def original_unet_name(name: str, spec: UNetSpec) -> str:
    """diffusers U-Net name → original name."""
    from webui.checkpoints.conversion import unet_prefixes

    for old, new in sorted(unet_prefixes(spec).items(), key=lambda pair: -len(pair[1])):
        if name.startswith(f"{new}."):
            rest, leaf = name[len(new) + 1 :].rpartition(".")[::2]
            if ".resnets." in new:
                rest = _RESNET[rest]
            return ".".join(part for part in (old, rest, leaf) if part)
    raise KeyError(name)


def original_vae_name(name: str, spec: VaeSpec) -> str:
    """diffusers VAE name → original name."""
    from webui.checkpoints.conversion import vae_prefixes

    for old, new in sorted(vae_prefixes(spec).items(), key=lambda pair: -len(pair[1])):
        if name.startswith(f"{new}."):
            rest, leaf = name[len(new) + 1 :].rpartition(".")[::2]
            if ".attentions." in new:
                rest = _ATTENTION[rest]
            elif rest == "conv_shortcut":
                rest = "nin_shortcut"
            return ".".join(part for part in (old, rest, leaf) if part)
    raise KeyError(name)


def sd1_shapes(
    unet: UNetSpec = SD1_UNET,
    vae: VaeSpec | None = SD1_VAE,
    text: TextSpec | None = SD1_TEXT,
    dtype: str = "F16",
) -> Shapes:
    """A whole SD 1.x single file."""
    from webui.checkpoints.load_parts import build_text, build_unet, build_vae

    found: Shapes = {}
    for name, tensor in build_unet(unet).state_dict().items():
        old = f"model.diffusion_model.{original_unet_name(name, unet)}"
        found[old] = (dtype, tuple(tensor.shape))
    if vae is not None:
        for name, tensor in build_vae(vae).state_dict().items():
            shape = tuple(tensor.shape)
            if ".attentions." in name and len(shape) == 2:
                shape = (*shape, 1, 1)
            found[f"first_stage_model.{original_vae_name(name, vae)}"] = (dtype, shape)
    if text is not None:
        prefix = "cond_stage_model.transformer.text_model."
        for name, tensor in build_text(text).state_dict().items():
            found[prefix + name.removeprefix("text_model.")] = (dtype, tuple(tensor.shape))
        found[f"{prefix}embeddings.position_ids"] = ("I64", (1, 77))
    return found


def open_clip_shapes(prefix: str, width: int, layers: int) -> Shapes:
    """An OpenCLIP text encoder as SD 2.x and SDXL files hold it."""
    found: Shapes = {
        f"{prefix}positional_embedding": ("F16", (77, width)),
        f"{prefix}text_projection": ("F16", (width, width)),
        f"{prefix}token_embedding.weight": ("F16", (49408, width)),
        f"{prefix}ln_final.weight": ("F16", (width,)),
        f"{prefix}ln_final.bias": ("F16", (width,)),
    }
    for layer in range(layers):
        block = f"{prefix}transformer.resblocks.{layer}."
        found[f"{block}attn.in_proj_weight"] = ("F16", (3 * width, width))
        found[f"{block}attn.in_proj_bias"] = ("F16", (3 * width,))
        for name, shape in (("attn.out_proj", (width, width)), ("mlp.c_fc", (4 * width, width)),
                            ("mlp.c_proj", (width, 4 * width))):  # fmt: skip
            found[f"{block}{name}.weight"] = ("F16", shape)
            found[f"{block}{name}.bias"] = ("F16", shape[:1])
        for name in ("ln_1", "ln_2"):
            found[f"{block}{name}.weight"] = ("F16", (width,))
            found[f"{block}{name}.bias"] = ("F16", (width,))
    return found


def sd2_shapes() -> Shapes:
    """SD 2.x: 1024-wide context, matrix projections, OpenCLIP-H."""
    unet = UNetSpec(4, 4, SD1_UNET.channels, 2, SD1_UNET.depths, 1024, 8, 32, True)
    found = sd1_shapes(unet, SD1_VAE, None)
    return found | open_clip_shapes("cond_stage_model.model.", 1024, 24)


def sdxl_shapes() -> Shapes:
    """SDXL: three levels, deep transformers, two text encoders, size conditioning."""
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    spec = UNetSpec(4, 4, (320, 640, 1280), 2, (False, True, True), 2048, 8, 32, True)
    config = spec.config() | {
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    }
    with torch.device("meta"):
        tensors = UNet2DConditionModel(**config).state_dict()
    found: Shapes = {}
    for name, tensor in tensors.items():
        if name.startswith("add_embedding."):
            old = name.replace("add_embedding.linear_1", "label_emb.0.0")
            old = old.replace("add_embedding.linear_2", "label_emb.0.2")
        else:
            old = original_unet_name(name, spec)
        found[f"model.diffusion_model.{old}"] = ("F16", tuple(tensor.shape))
    found |= {k: v for k, v in sd1_shapes().items() if k.startswith("first_stage_model.")}
    clip = "cond_stage_model.transformer."
    for name, value in sd1_shapes().items():
        if name.startswith(clip):
            found[f"conditioner.embedders.0.transformer.{name[len(clip) :]}"] = value
    return found | open_clip_shapes("conditioner.embedders.1.model.", 1280, 32)


def lora_shapes(width: int = 768) -> Shapes:
    """A kohya LoRA with a few modules."""
    found: Shapes = {}
    for module in ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k",
                   "lora_te_text_model_encoder_layers_0_self_attn_q_proj"):  # fmt: skip
        found[f"{module}.lora_down.weight"] = ("F16", (8, width))
        found[f"{module}.lora_up.weight"] = ("F16", (320, 8))
        found[f"{module}.alpha"] = ("F16", ())
    return found


def stripped_files() -> dict[str, Shapes]:
    """Every stored layout by file name."""
    inpaint = UNetSpec(9, 4, SD1_UNET.channels, 2, SD1_UNET.depths, 768, 8, 32)
    edit = UNetSpec(8, 4, SD1_UNET.channels, 2, SD1_UNET.depths, 768, 8, 32)
    vae = {k.removeprefix("first_stage_model."): v for k, v in sd1_shapes().items()
           if k.startswith("first_stage_model.")}  # fmt: skip
    return {
        "sd1": sd1_shapes() | {"model_ema.decay": ("F32", ()), "betas": ("F32", (1000,))},
        "sd1-inpaint": sd1_shapes(inpaint),
        "sd1-edit": sd1_shapes(edit),
        "sd1-no-vae": sd1_shapes(vae=None),
        "sd1-no-text": sd1_shapes(text=None),
        "sd2": sd2_shapes(),
        "sdxl": sdxl_shapes(),
        "vae": vae,
        "lora": lora_shapes(),
    }


def read_stripped(name: str) -> Header:
    """A stored layout as a header."""
    data = json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))
    return as_header(name, {key: (dtype, tuple(shape)) for key, (dtype, shape) in data.items()})


def as_header(
    name: str,
    shapes: Mapping[str, tuple[str, tuple[int, ...]]],
    metadata: Mapping[str, str] | None = None,
) -> Header:
    """Shapes as the header of a file that does not exist."""
    tensors = {key: TensorInfo(dtype, shape) for key, (dtype, shape) in shapes.items()}
    return Header(Path(f"/nowhere/{name}.safetensors"), "safetensors", tensors, metadata or {})


def main() -> None:
    """Write all stored layouts."""
    from webui.torch_setup import prepare_torch

    prepare_torch()
    DATA.mkdir(parents=True, exist_ok=True)
    for name, shapes in stripped_files().items():
        text = json.dumps(shapes, separators=(",", ":"), sort_keys=True)
        (DATA / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
