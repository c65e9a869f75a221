"""Which layer of a model a name in a LoRA file means.

Trainers write the path of a layer in many ways: with "_" or "." between its parts, with one of a
dozen prefixes, in diffusers' or the original checkpoint's naming. Since "_" also stands inside
names, no path is ever split: a table is built from the model's real names, written in every way.

Source: lora-training.md, sections 4.1, 4.2 and 4.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

UNET_PREFIXES: Final = (
    "lora_unet_", "lycoris_", "unet_", "diffusion_model_", "model_diffusion_model_",
    "transformer_", "base_model_model_", "base_model_model_unet_", "",
)  # fmt: skip
"""kohya and OneTrainer; SimpleTuner; diffusers; ComfyUI and ai-toolkit; PEFT; old diffusers."""
TEXT_PREFIXES: Final = {
    1: (
        "lora_te_", "lora_te1_", "text_encoder_", "clip_l_", "clip_h_", "base_model_model_",
        "base_model_model_text_encoder_", "text_encoders_clip_l_transformer_",
        "text_encoders_clip_h_transformer_", "cond_stage_model_transformer_",
    ),
    2: (
        "lora_te2_", "text_encoder_2_", "clip_g_", "text_encoders_clip_g_transformer_",
        "base_model_model_text_encoder_2_",
    ),
}  # fmt: skip

_BLOCK: Final = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)(?:\.|$)")
_RESIZER: Final = re.compile(r"(down|up)_blocks\.(\d+)\.(?:down|up)samplers\.0\.conv$")
_RESNET_PARTS: Final = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_ALONE: Final = {
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}  # fmt: skip


def plain(name: str) -> str:
    """A layer name as it stands in the tables: one separator, no processor of old diffusers."""
    return name.replace(".processor.", ".").replace(".", "_")


def unet_table(layers: Iterable[str]) -> dict[str, str]:
    """Every way to write a U-Net's layers.

    Args:
        layers: Dotted paths of all its modules, diffusers' naming.
    Returns:
        ``plain`` name → dotted path.
    """
    paths = list(layers)
    original = original_unet_names(paths)
    table: dict[str, str] = {}
    for path in paths:
        for name in (path, original.get(path, path)):
            _add(table, name, path, UNET_PREFIXES)
            if name.endswith(".to_out.0"):  # old diffusers leaves the number out
                _add(table, name.removesuffix(".0"), path, UNET_PREFIXES)
    return table


def text_table(layers: Iterable[str], number: int = 1) -> dict[str, str]:
    """Every way to write a CLIP text encoder's layers.

    Args:
        layers: Dotted paths of all its modules, transformers' naming, with or without
            ``text_model.`` in front.
        number: 2 for the second encoder of SDXL, else 1.
    Returns:
        ``plain`` name → dotted path.
    """
    table: dict[str, str] = {}
    for path in layers:
        bare = path.removeprefix("text_model.")
        for name in _text_spellings(bare):
            _add(table, f"text_model.{name}", path, TEXT_PREFIXES[number])
            _add(table, name, path, TEXT_PREFIXES[number])
    return table


def _text_spellings(name: str) -> Iterator[str]:
    yield name
    if ".self_attn." in name:  # old diffusers: to_q, to_k, to_v, to_out
        head, _, last = name.rpartition(".")
        yield f"{head}.to_{last.removesuffix('_proj')}"


def _add(table: dict[str, str], name: str, path: str, prefixes: Iterable[str]) -> None:
    for prefix in prefixes:
        table.setdefault(prefix + plain(name), path)


def original_unet_names(paths: Iterable[str]) -> dict[str, str]:
    """Diffusers' layer paths → those of the original checkpoints (``input_blocks.4.1…``).

    The numbering follows from which blocks there are, so it holds for SD 1.x, 2.x and SDXL.
    """
    names = list(paths)
    known = set(names)
    roots = dict(_ALONE)
    for side, root in (("down", "input_blocks"), ("up", "output_blocks")):
        roots |= _numbered_blocks(known, side, root)
    found = {}
    for name in names:
        head, tail = _cut(name, roots)
        if head:
            parts = tail.split(".", 1)
            is_resnet = ".resnets." in f"{head}." and parts[0] in _RESNET_PARTS
            inner = ".".join([_RESNET_PARTS[parts[0]], *parts[1:]]) if is_resnet else tail
            found[name] = f"{roots[head]}.{inner}" if inner else roots[head]
    return found


def _cut(name: str, roots: dict[str, str]) -> tuple[str, str]:
    """The part of a path that has a root in the original naming, and the rest."""
    if name in roots:
        return name, ""
    head = name
    while "." in head:
        head = head.rpartition(".")[0]
        if head in roots:
            return head, name[len(head) + 1 :]
    return "", name


def _numbered_blocks(known: set[str], side: str, root: str) -> dict[str, str]:
    blocks: dict[int, dict[str, int]] = {}
    for name in known:
        if (match := _BLOCK.match(name)) and match[1] == side:
            count = blocks.setdefault(int(match[2]), {"resnets": 0, "attentions": 0, "resizer": 0})
            count[match[3]] = max(count[match[3]], int(match[4]) + 1)
        elif (match := _RESIZER.match(name)) and match[1] == side:
            blocks.setdefault(int(match[2]), {"resnets": 0, "attentions": 0, "resizer": 0})
            blocks[int(match[2])]["resizer"] = 1
    number = 1 if side == "down" else 0
    roots = {}
    for block, count in sorted(blocks.items()):
        here = f"{side}_blocks.{block}"
        for i in range(count["resnets"]):
            roots[f"{here}.resnets.{i}"] = f"{root}.{number}.0"
            if i < count["attentions"]:
                roots[f"{here}.attentions.{i}"] = f"{root}.{number}.1"
            number += 1
        if count["resizer"] and side == "down":
            roots[f"{here}.downsamplers.0.conv"] = f"{root}.{number}.0.op"
            number += 1
        elif count["resizer"]:
            place = 2 if count["attentions"] else 1
            roots[f"{here}.upsamplers.0.conv"] = f"{root}.{number - 1}.{place}.conv"
    return roots
