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
SD1_UNET = UNetSpec(4, 4, (320, 640, 1280, 1280), 2, (1, 1, 1, 0), 768, 8, 32)
SD1_VAE = VaeSpec((128, 256, 512, 512), 2, 32)
SD1_TEXT = TextSpec(768, 12, 12, 3072)
SD2_UNET = UNetSpec(4, 4, (320, 640, 1280, 1280), 2, (1, 1, 1, 0), 1024, (5, 10, 20, 20), 32, True)
SD2_TEXT = TextSpec(1024, 23, 16, 4096, activation="gelu")
SDXL_UNET = UNetSpec(
    4, 4, (320, 640, 1280), 2, (0, 2, 10), 2048, (5, 10, 20), 32, True,
    middle_depth=10, vector_dim=2816,
)  # fmt: skip
REFINER_UNET = UNetSpec(
    4, 4, (384, 768, 1536, 1536), 2, (0, 4, 4, 0), 1280, (6, 12, 24, 24), 32, True,
    middle_depth=4, vector_dim=2560,
)  # fmt: skip
BIG_G = TextSpec(1280, 32, 20, 5120, activation="gelu", projection=1280)
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


def unet_shapes(spec: UNetSpec, dtype: str = "F16") -> Shapes:
    """A U-Net as single files hold it."""
    from webui.checkpoints.load_parts import build_unet

    return {
        f"model.diffusion_model.{original_unet_name(name, spec)}": (dtype, tuple(tensor.shape))
        for name, tensor in build_unet(spec).state_dict().items()
    }


def vae_shapes(spec: VaeSpec, dtype: str = "F16") -> Shapes:
    """A VAE as single files hold it."""
    from webui.checkpoints.load_parts import build_vae

    found: Shapes = {}
    for name, tensor in build_vae(spec).state_dict().items():
        shape = tuple(tensor.shape)
        if ".attentions." in name and len(shape) == 2:
            shape = (*shape, 1, 1)
        found[f"first_stage_model.{original_vae_name(name, spec)}"] = (dtype, shape)
    return found


def clip_shapes(prefix: str, spec: TextSpec, dtype: str = "F16") -> Shapes:
    """OpenAI's text encoder as single files hold it, its positions with it."""
    from webui.checkpoints.load_parts import build_text

    found: Shapes = {
        f"{prefix}text_model.{name.removeprefix('text_model.')}": (dtype, tuple(tensor.shape))
        for name, tensor in build_text(spec).state_dict().items()
    }
    return found | {f"{prefix}text_model.embeddings.position_ids": ("I64", (1, 77))}


def sd1_shapes(
    unet: UNetSpec = SD1_UNET,
    vae: VaeSpec | None = SD1_VAE,
    text: TextSpec | None = SD1_TEXT,
    dtype: str = "F16",
) -> Shapes:
    """A whole SD 1.x single file."""
    found = unet_shapes(unet, dtype)
    if vae is not None:
        found |= vae_shapes(vae, dtype)
    if text is not None:
        found |= clip_shapes("cond_stage_model.transformer.", text, dtype)
    return found


def open_clip_shapes(prefix: str, spec: TextSpec, layers: int, dtype: str = "F16") -> Shapes:
    """An OpenCLIP text encoder as SD 2.x and SDXL files hold it; layers as in the file."""
    width, inner = spec.width, spec.intermediate
    found: Shapes = {
        "positional_embedding": (dtype, (spec.positions, width)),
        "text_projection": (dtype, (width, spec.projection or width)),
        "token_embedding.weight": (dtype, (spec.vocabulary, width)),
        "ln_final.weight": (dtype, (width,)),
        "ln_final.bias": (dtype, (width,)),
        "logit_scale": (dtype, ()),
    }
    for layer in range(layers):
        block = f"transformer.resblocks.{layer}."
        found[f"{block}attn.in_proj_weight"] = (dtype, (3 * width, width))
        found[f"{block}attn.in_proj_bias"] = (dtype, (3 * width,))
        for name, shape in (("attn.out_proj", (width, width)), ("mlp.c_fc", (inner, width)),
                            ("mlp.c_proj", (width, inner))):  # fmt: skip
            found[f"{block}{name}.weight"] = (dtype, shape)
            found[f"{block}{name}.bias"] = (dtype, shape[:1])
        for name in ("ln_1", "ln_2"):
            found[f"{block}{name}.weight"] = (dtype, (width,))
            found[f"{block}{name}.bias"] = (dtype, (width,))
    return {prefix + name: value for name, value in found.items()}


def sd2_shapes(
    unet: UNetSpec = SD2_UNET, vae: VaeSpec = SD1_VAE, text: TextSpec = SD2_TEXT
) -> Shapes:
    """SD 2.x: matrix projections, OpenCLIP-H with a layer that nobody uses."""
    text_file = open_clip_shapes("cond_stage_model.model.", text, text.layers + 1)
    return unet_shapes(unet) | vae_shapes(vae) | text_file


def sdxl_shapes(
    unet: UNetSpec = SDXL_UNET,
    vae: VaeSpec = SD1_VAE,
    clip: TextSpec = SD1_TEXT,
    big_g: TextSpec = BIG_G,
) -> Shapes:
    """SDXL: three levels, deep transformers, two text encoders, size conditioning."""
    texts = clip_shapes("conditioner.embedders.0.transformer.", clip)
    texts |= open_clip_shapes("conditioner.embedders.1.model.", big_g, big_g.layers)
    return unet_shapes(unet) | vae_shapes(vae) | texts


def refiner_shapes(
    unet: UNetSpec = REFINER_UNET, vae: VaeSpec = SD1_VAE, big_g: TextSpec = BIG_G
) -> Shapes:
    """SDXL's refiner: one text encoder, under the first one's name."""
    text = open_clip_shapes("conditioner.embedders.0.model.", big_g, big_g.layers)
    return unet_shapes(unet) | vae_shapes(vae) | text


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
        "sdxl-refiner": refiner_shapes(),
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
