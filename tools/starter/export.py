"""Write a training run as one checkpoint file: ``python -m tools.starter.export RUN FILE``.

The file has the original single-file layout in fp16, as every Stable Diffusion program reads it,
with the networks' sizes, the licence and the training's figures in its metadata.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from webui.torch_setup import prepare_torch

prepare_torch()

import torch  # noqa: E402
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import Tensor  # noqa: E402

from tools.starter.concepts import read_concepts  # noqa: E402
from tools.starter.networks import LATENT_SCALE, Starter, from_checkpoint  # noqa: E402
from webui.checkpoints.conversion import (  # noqa: E402
    unet_names,
    unet_prefixes,
    vae_names,
    vae_prefixes,
)
from webui.checkpoints.rules import UNET, VAE  # noqa: E402
from webui.checkpoints.specs import UNetSpec, VaeSpec  # noqa: E402

CLIP: Final = "cond_stage_model.transformer.text_model."
LICENCE: Final = (
    "MIT. Trained on drawings of @iconify-json/fluent-emoji-flat "
    "(Microsoft Fluent Emoji, MIT licence, Copyright (c) Microsoft Corporation)."
)

_UNET_RESNET: Final = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_VAE_RESNET: Final = {"conv_shortcut": "nin_shortcut"}
_VAE_ATTENTION: Final = {
    "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
}  # fmt: skip


def original_names(
    names: list[str], prefixes: Mapping[str, str], inner: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """Diffusers names → names in a single file.

    Args:
        prefixes: Module names, original → diffusers (``webui.checkpoints.conversion``).
        inner: For modules whose name holds the key: their own tensors, diffusers → original.
    """
    modules = {new: old for old, new in prefixes.items()}
    found = {}
    for name in names:
        parts = name.split(".")
        module = next(
            ".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in modules
        )
        rest, _, leaf = name[len(module) + 1 :].rpartition(".")
        for kind, table in inner.items():
            if kind in module:
                rest = table.get(rest, rest)
        found[name] = ".".join(filter(None, (modules[module], rest, leaf)))
    return found


def unet_tensors(state: Mapping[str, Tensor], spec: UNetSpec) -> dict[str, Tensor]:
    """A diffusers U-Net's weights under their original names, with the file's prefix."""
    names = original_names(list(state), unet_prefixes(spec), {".resnets.": _UNET_RESNET})
    assert unet_names(names.values(), spec) == {old: new for new, old in names.items()}
    return {UNET + names[name]: tensor for name, tensor in state.items()}


def vae_tensors(state: Mapping[str, Tensor], spec: VaeSpec) -> dict[str, Tensor]:
    """A diffusers autoencoder's weights under original names (attention: 1×1 convolutions)."""
    inner = {".resnets.": _VAE_RESNET, ".attentions.": _VAE_ATTENTION}
    names = original_names(list(state), vae_prefixes(spec), inner)
    assert vae_names(names.values(), spec) == {old: new for new, old in names.items()}
    return {
        VAE + names[name]: tensor[:, :, None, None]
        if ".attentions." in name and tensor.ndim == 2
        else tensor
        for name, tensor in state.items()
    }


def text_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A CLIP text encoder's weights as in single files, with the constant they all hold."""
    tensors = {CLIP + name: t for name, t in state.items() if not name.endswith("position_ids")}
    return tensors | {CLIP + "embeddings.position_ids": torch.arange(77)[None]}


def starter_config(networks: Starter, vae: AutoencoderKL, size: int) -> dict[str, Any]:
    """The sizes that shapes alone do not show; loaders read them from the metadata."""
    unet, text = networks.unet.config, networks.text.clip.config
    return {
        "unet": {
            "model_channels": unet["block_out_channels"][0],
            "channels": list(unet["block_out_channels"]),
            "num_res_blocks": unet["layers_per_block"],
            "context_dim": unet["cross_attention_dim"],
            "num_heads": unet["attention_head_dim"],
            "norm_num_groups": unet["norm_num_groups"],
        },
        "vae": {
            "channels": list(vae.config["block_out_channels"]),
            "num_res_blocks": vae.config["layers_per_block"],
            "norm_num_groups": vae.config["norm_num_groups"],
            "scaling_factor": LATENT_SCALE,
        },
        "text": {
            "hidden": text.hidden_size,
            "layers": text.num_hidden_layers,
            "heads": text.num_attention_heads,
        },
        "resolution": size,
        "concepts": len(read_concepts()),
    }


def export(networks: Starter, vae: AutoencoderKL, file: Path, *, size: int, facts: str) -> None:
    """Write the checkpoint.

    Args:
        networks: U-Net and text encoder. size: Side of the pictures it was trained on, in pixels.
        facts: The training's figures in words.
    """
    config = starter_config(networks, vae, size)
    unet, vae_config = config["unet"], config["vae"]
    unet_spec = UNetSpec(
        4, 4, tuple(unet["channels"]), unet["num_res_blocks"], (1, 1, 1, 0),
        unet["context_dim"], heads=unet["num_heads"], groups=unet["norm_num_groups"],
    )  # fmt: skip
    vae_spec = VaeSpec(
        tuple(vae_config["channels"]), vae_config["num_res_blocks"], vae_config["norm_num_groups"]
    )
    tensors = {
        **unet_tensors(networks.unet.state_dict(), unet_spec),
        **vae_tensors(vae.state_dict(), vae_spec),
        **text_tensors(networks.text.whole_state()),
    }
    metadata = {
        "format": "pt",
        "starter_config": json.dumps(config),
        "modelspec.title": "Starter (Fluent Emoji)",
        "modelspec.architecture": "stable-diffusion-v1",
        "modelspec.license": LICENCE,
        "modelspec.resolution": f"{size}x{size}",
        "training": facts,
    }
    save_file({n: _as_stored(t) for n, t in tensors.items()}, file, metadata=metadata)


def _as_stored(tensor: Tensor) -> Tensor:
    return (tensor.half() if tensor.is_floating_point() else tensor).contiguous()


def trained(run: Path, first: Path) -> Starter:
    """The averaged weights of a run that began with the file ``first``."""
    state = torch.load(run / "state.pt", weights_only=True)
    networks = from_checkpoint(first, state["average"]["known"])
    networks.unet.load_state_dict(state["average"]["unet"])
    networks.text.clip.load_state_dict(state["average"]["text"])
    return networks


def training_facts(run: Path) -> str:
    """How long the run was, in words."""
    progress = torch.load(run / "state.pt", weights_only=True)["progress"]
    return (
        f"{progress['step']} steps, {progress['seen']} pictures, "
        f"{progress['seconds'] / 60:.0f} minutes"
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of the training run")
    parser.add_argument("file", type=Path, help="checkpoint to write (.safetensors)")
    parser.add_argument("--first", type=Path, required=True, help="checkpoint the run began with")
    parser.add_argument("--vae", type=Path, help="vae.pt of train_vae; else the first file's VAE")
    parser.add_argument("--size", type=int, default=128)
    arguments = parser.parse_args()
    networks = trained(arguments.run, arguments.first)
    if networks.vae is None:
        parser.error(f"{arguments.first} holds no VAE")
    if arguments.vae:
        networks.vae.load_state_dict(torch.load(arguments.vae, weights_only=True))
    facts = training_facts(arguments.run)
    export(networks, networks.vae, arguments.file, size=arguments.size, facts=facts)
    print(f"{arguments.file}: {arguments.file.stat().st_size / 1e6:.1f} MB, {facts}")


if __name__ == "__main__":
    main()
