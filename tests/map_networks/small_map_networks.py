"""Small networks of random numbers in the forms in which people get them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

Rules = tuple[tuple[str, str | Callable[[Any], str]], ...]
_NECK: Rules = (
    (r"neck\.convs\.(\d)", lambda m: f"scratch.layer{int(m[1]) + 1}_rn"),
    (r"neck\.fusion_stage\.layers\.(\d)", lambda m: f"scratch.refinenet{4 - int(m[1])}"),
    (r"(refinenet\d)\.projection", r"\1.out_conv"),
    (r"residual_layer(\d)\.convolution(\d)", r"resConfUnit\1.conv\2"),
)
_ANYTHING: Rules = (
    (r"^backbone\.embeddings\.patch_embeddings\.projection", "pretrained.patch_embed.proj"),
    (r"^backbone\.embeddings\.position_embeddings", "pretrained.pos_embed"),
    (r"^backbone\.embeddings\.", "pretrained."),
    (r"^backbone\.layernorm", "pretrained.norm"),
    (r"^backbone\.encoder\.layer\.", "pretrained.blocks."),
    (r"layer_scale(\d)\.lambda1", r"ls\1.gamma"),
    (r"^neck\.reassemble_stage\.layers\.(\d)\.projection", r"depth_head.projects.\1"),
    (r"^neck\.reassemble_stage\.layers\.(\d)\.resize", r"depth_head.resize_layers.\1"),
    *_NECK,
    (r"^scratch", "depth_head.scratch"),
    (r"^head\.conv1", "depth_head.scratch.output_conv1"),
    (r"^head\.conv2", "depth_head.scratch.output_conv2.0"),
    (r"^head\.conv3", "depth_head.scratch.output_conv2.2"),
)
_DPT: Rules = (
    (r"^dpt\.embeddings\.backbone\.bit\.embedder\.convolution",
     "pretrained.model.patch_embed.backbone.stem.conv"),
    (r"^dpt\.embeddings\.backbone\.bit\.embedder\.norm",
     "pretrained.model.patch_embed.backbone.stem.norm"),
    (r"^dpt\.embeddings\.backbone\.bit\.encoder\.stages\.(\d)\.layers\.(\d)",
     r"pretrained.model.patch_embed.backbone.stages.\1.blocks.\2"),
    (r"^dpt\.embeddings\.(patch_embeddings\.)?projection", "pretrained.model.patch_embed.proj"),
    (r"^dpt\.embeddings\.position_embeddings", "pretrained.model.pos_embed"),
    (r"^dpt\.embeddings\.cls_token", "pretrained.model.cls_token"),
    (r"^dpt\.layernorm", "pretrained.model.norm"),
    (r"^dpt\.encoder\.layer\.", "pretrained.model.blocks."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(?<!attention)\.output\.dense\.", ".mlp.fc2."),
    (r"^neck\.reassemble_stage\.readout_projects\.(\d)\.0",
     lambda m: f"pretrained.act_postprocess{int(m[1]) + 1}.0.project.0"),
    (r"^neck\.reassemble_stage\.layers\.(\d)\.projection",
     lambda m: f"pretrained.act_postprocess{int(m[1]) + 1}.3"),
    (r"^neck\.reassemble_stage\.layers\.(\d)\.resize",
     lambda m: f"pretrained.act_postprocess{int(m[1]) + 1}.4"),
    *_NECK,
    (r"^head\.head\.", "scratch.output_conv."),
)  # fmt: skip


def as_published(kind: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that transformers saved, under their makers' names."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for pattern, new in _ANYTHING if kind == "depth_anything" else _DPT:
            name = re.sub(pattern, new, name)
        found[name.replace(".attention.output.dense.", ".attn.proj.")] = tensor
    for name in [name for name in found if ".attention.attention.query." in name]:
        three = [found.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        found[name.replace(".attention.attention.query.", ".attn.qkv.")] = torch.cat(three)
    return found


def small_anything() -> Any:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    torch.manual_seed(1)
    backbone = Dinov2Config(
        hidden_size=64, num_hidden_layers=6, num_attention_heads=1, image_size=56, patch_size=14,
        out_indices=[3, 4, 5, 6], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=64, neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8, head_hidden_size=4,
    )  # fmt: skip
    made = _lively(DepthAnythingForDepthEstimation(config))
    made.head.conv3.bias.data += 50  # what is below 0 is cut
    return made


def small_dpt(*, is_hybrid: bool) -> Any:
    from transformers import DPTConfig, DPTForDepthEstimation

    torch.manual_seed(2)
    shape: dict[str, Any] = {"neck_hidden_sizes": [8, 8, 16, 16]}
    if is_hybrid:  # its convolutions are as they are: the smallest that transformers builds
        shape = {"neck_hidden_sizes": [256, 512, 64, 64], "reassemble_factors": [1, 1, 1, 0.5]}
    config = DPTConfig(
        is_hybrid=is_hybrid, hidden_size=64, num_hidden_layers=12 if is_hybrid else 4,
        num_attention_heads=1, intermediate_size=256, fusion_hidden_size=8, image_size=64,
        backbone_out_indices=[2, 5, 8, 11] if is_hybrid else [0, 1, 2, 3], layer_norm_eps=1e-6,
        **shape,
    )  # fmt: skip
    return _lively(DPTForDepthEstimation(config))


def _lively(model: Any) -> Any:
    """With weights that make answers differ from place to place."""
    for name, weight in model.named_parameters():
        if weight.ndim > 1 or name.endswith("bias"):
            weight.data = torch.randn_like(weight) * 0.1
    return model.eval().requires_grad_(False)


def saved_state(model: Any, folder: Path) -> dict[str, Tensor]:
    """What transformers writes, which is not what it holds: it renames some."""
    from safetensors.torch import load_file

    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def write_file(state: Mapping[str, Tensor], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file({n: t.contiguous() for n, t in state.items()}, path)
    else:
        torch.save(dict(state), path)
    return path
