"""Depth networks in their makers' own files: which size they are, and the names transformers gives
their tensors.

Source:
    Names and sizes: MiDaS 3 and DPT (isl-org), Depth Anything 1 and 2, and transformers' converters
    for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor

from webui.errors import CheckpointError

_NECK: Final = (
    (r"scratch\.layer(\d)_rn\.", lambda m: f"neck.convs.{int(m[1]) - 1}."),
    (r"scratch\.refinenet(\d)\.", lambda m: f"neck.fusion_stage.layers.{4 - int(m[1])}."),
    (r"\.out_conv\.", lambda m: ".projection."),
    (r"\.resConfUnit(\d)\.conv(\d)\.", lambda m: f".residual_layer{m[1]}.convolution{m[2]}."),
)
"""What both have: maps of four depths are joined, the deepest first."""
_DPT: Final = (
    (r"^pretrained\.model\.patch_embed\.backbone\.stem\.conv\.",
     lambda m: "dpt.embeddings.backbone.bit.embedder.convolution."),
    (r"^pretrained\.model\.patch_embed\.backbone\.stem\.norm\.",
     lambda m: "dpt.embeddings.backbone.bit.embedder.norm."),
    (r"^pretrained\.model\.patch_embed\.backbone\.stages\.(\d+)\.blocks\.(\d+)\.",
     lambda m: f"dpt.embeddings.backbone.bit.encoder.stages.{m[1]}.layers.{m[2]}."),
    (r"^pretrained\.model\.cls_token$", lambda m: "dpt.embeddings.cls_token"),
    (r"^pretrained\.model\.pos_embed$", lambda m: "dpt.embeddings.position_embeddings"),
    (r"^pretrained\.model\.norm\.", lambda m: "dpt.layernorm."),
    (r"^pretrained\.model\.blocks\.(\d+)\.", lambda m: f"dpt.encoder.layer.{m[1]}."),
    (r"^(dpt\.encoder\.layer\.\d+\.)norm1\.", lambda m: f"{m[1]}layernorm_before."),
    (r"^(dpt\.encoder\.layer\.\d+\.)norm2\.", lambda m: f"{m[1]}layernorm_after."),
    (r"\.mlp\.fc1\.", lambda m: ".intermediate.dense."),
    (r"\.mlp\.fc2\.", lambda m: ".output.dense."),
    (r"^pretrained\.act_postprocess(\d)\.0\.project\.0\.",
     lambda m: f"neck.reassemble_stage.readout_projects.{int(m[1]) - 1}.0."),
    (r"^pretrained\.act_postprocess(\d)\.3\.",
     lambda m: f"neck.reassemble_stage.layers.{int(m[1]) - 1}.projection."),
    (r"^pretrained\.act_postprocess(\d)\.4\.",
     lambda m: f"neck.reassemble_stage.layers.{int(m[1]) - 1}.resize."),
    (r"^scratch\.output_conv\.", lambda m: "head.head."),
)  # fmt: skip
_ANYTHING: Final = (
    (r"^pretrained\.cls_token$", lambda m: "backbone.embeddings.cls_token"),
    (r"^pretrained\.mask_token$", lambda m: "backbone.embeddings.mask_token"),
    (r"^pretrained\.pos_embed$", lambda m: "backbone.embeddings.position_embeddings"),
    (r"^pretrained\.patch_embed\.proj\.",
     lambda m: "backbone.embeddings.patch_embeddings.projection."),
    (r"^pretrained\.norm\.", lambda m: "backbone.layernorm."),
    (r"^pretrained\.blocks\.(\d+)\.", lambda m: f"backbone.encoder.layer.{m[1]}."),
    (r"\.ls(\d)\.gamma$", lambda m: f".layer_scale{m[1]}.lambda1"),
    (r"^depth_head\.projects\.(\d)\.",
     lambda m: f"neck.reassemble_stage.layers.{m[1]}.projection."),
    (r"^depth_head\.resize_layers\.(\d)\.",
     lambda m: f"neck.reassemble_stage.layers.{m[1]}.resize."),
    (r"^depth_head\.scratch\.output_conv1\.", lambda m: "head.conv1."),
    (r"^depth_head\.scratch\.output_conv2\.0\.", lambda m: "head.conv2."),
    (r"^depth_head\.scratch\.output_conv2\.2\.", lambda m: "head.conv3."),
    (r"^depth_head\.", lambda m: ""),
)  # fmt: skip
_UNUSED: Final = ("pretrained.model.head.", "auxlayer.")
"""Heads of other tasks."""
_WHERE_ANYTHING_LOOKS: Final = {12: (3, 6, 9, 12), 24: (5, 12, 18, 24)}
"""After which of its layers version 2 takes its maps, by how many it has; version 1 takes the last
four."""


def patch_name(is_hybrid: bool) -> tuple[str, str]:
    """Where DPT's projection of patches is: in the makers' file, in transformers."""
    ours = "dpt.embeddings." + ("projection." if is_hybrid else "patch_embeddings.projection.")
    return "pretrained.model.patch_embed.proj.", ours


def renamed_dpt(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a MiDaS file under transformers' names."""
    is_hybrid = any(".patch_embed.backbone." in name for name in state)
    theirs, ours = patch_name(is_hybrid)
    kept = {
        name.replace(theirs, ours): tensor
        for name, tensor in state.items()
        if not name.startswith(_UNUSED)
    }
    return _renamed(kept, (*_DPT, *_NECK))


def renamed_anything(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a Depth Anything file under transformers' names."""
    return _renamed(state, (*_ANYTHING, *_NECK))


def _renamed(state: Mapping[str, Tensor], rules: Any) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for pattern, new in rules:
            name = re.sub(pattern, new, name)
        if ".attn.qkv." in name:
            for part, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                found[name.replace(".attn.qkv.", f".attention.attention.{part}.")] = third
        else:
            found[name.replace(".attn.proj.", ".attention.output.dense.")] = tensor
    return found


def dpt_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What transformers must be told to build the network of a MiDaS file.

    Args:
        state: Under its makers' names.
    """
    width, layers = _width_and_layers(state, "pretrained.model.")
    is_hybrid = any(".patch_embed.backbone." in name for name in state)
    necks = [state[f"scratch.layer{n}_rn.weight"].shape[1] for n in (1, 2, 3, 4)]
    config: dict[str, Any] = {
        "is_hybrid": is_hybrid,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // 64),
        "intermediate_size": 4 * width,
        "layer_norm_eps": 1e-6,
        "image_size": _side(state["pretrained.model.pos_embed"], 16),
        "neck_hidden_sizes": necks,
        "fusion_hidden_size": state["scratch.layer1_rn.weight"].shape[0],
    }
    if is_hybrid:
        return {**config, "reassemble_factors": [1, 1, 1, 0.5]}
    return {**config, "backbone_out_indices": [layers * n // 4 - 1 for n in (1, 2, 3, 4)]}


def anything_config(state: Mapping[str, Tensor], *, is_second: bool) -> dict[str, Any]:
    """The same of a Depth Anything file.

    Args:
        is_second: It is of version 2, whose files have the same shapes.
    """
    width, layers = _width_and_layers(state, "pretrained.")
    last_four = tuple(range(layers - 3, layers + 1))
    taken = _WHERE_ANYTHING_LOOKS.get(layers, last_four) if is_second else last_four
    patch = state["pretrained.patch_embed.proj.weight"].shape[-1]
    head = "depth_head.scratch."
    return {
        "backbone_config": {
            "model_type": "dinov2",
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": max(1, width // 64),
            "image_size": _side(state["pretrained.pos_embed"], patch),
            "patch_size": patch,
            "out_indices": list(taken),
            "apply_layernorm": True,
            "reshape_hidden_states": False,
        },
        "patch_size": patch,
        "reassemble_hidden_size": width,
        "neck_hidden_sizes": [state[f"{head}layer{n}_rn.weight"].shape[1] for n in (1, 2, 3, 4)],
        "fusion_hidden_size": state[f"{head}layer1_rn.weight"].shape[0],
        "head_hidden_size": state[f"{head}output_conv2.0.weight"].shape[0],
    }


def _width_and_layers(state: Mapping[str, Tensor], prefix: str) -> tuple[int, int]:
    token, blocks = f"{prefix}cls_token", f"{prefix}blocks."
    numbers = {int(n[len(blocks) :].split(".")[0]) for n in state if n.startswith(blocks)}
    if token not in state or not numbers:
        raise CheckpointError(
            "A depth network was wanted, but the file holds something else.",
            "Choose another file.",
        )
    return state[token].shape[-1], max(numbers) + 1


def _side(positions: Tensor, patch: int) -> int:
    """Pixels of the square picture that a table of positions is for."""
    return round((positions.shape[1] - 1) ** 0.5) * patch
