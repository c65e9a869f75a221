"""Names of the same tensor in the two worlds: original single files (LDM) and diffusers; no torch.

Each function returns a whole table, original name → diffusers name, built from the model's shape,
so nothing is guessed from a name at run time and the inverse is the table read backwards.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from webui.checkpoints.headers import TensorInfo
from webui.checkpoints.specs import UNetSpec, VaeSpec


@dataclass(frozen=True)
class Source:
    """Where the data of a wanted tensor is.

    Attributes:
        name: Of the stored tensor.
        third: Which third of its rows, 0–2; None = all.
        is_transposed: Rows and columns are swapped.
    """

    name: str
    third: int | None = None
    is_transposed: bool = False

    def shape(self, stored: TensorInfo) -> tuple[int, ...]:
        """Of the wanted tensor."""
        shape = stored.shape if self.third is None else (stored.shape[0] // 3, *stored.shape[1:])
        return shape[::-1] if self.is_transposed else shape


def whole(names: Mapping[str, str]) -> dict[str, Source]:
    """Wanted name → stored name, as sources."""
    return {wanted: Source(stored) for wanted, stored in names.items()}


_UNET_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_VAE_RESNET = {
    "norm1": "norm1",
    "conv1": "conv1",
    "norm2": "norm2",
    "conv2": "conv2",
    "nin_shortcut": "conv_shortcut",
}
_VAE_ATTENTION = {
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "proj_out": "to_out.0",
}
_OLD_DIFFUSERS_ATTENTION = {
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}


def unet_prefixes(spec: UNetSpec) -> dict[str, str]:
    """Module names of the U-Net, original → diffusers, without trailing dots.

    Residual blocks map to ``….resnets.j``; their inner names differ too (``_UNET_RESNET``).
    """
    n = spec.res_blocks
    last = len(spec.channels) - 1
    table = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "label_emb.0.0": "add_embedding.linear_1",
        "label_emb.0.2": "add_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
        "middle_block.0": "mid_block.resnets.0",
        "middle_block.1": "mid_block.attentions.0",
        "middle_block.2": "mid_block.resnets.1",
    }
    for level, has_attention in enumerate(spec.depths):
        first = 1 + level * (n + 1)
        for j in range(n):
            table[f"input_blocks.{first + j}.0"] = f"down_blocks.{level}.resnets.{j}"
            if has_attention:
                table[f"input_blocks.{first + j}.1"] = f"down_blocks.{level}.attentions.{j}"
        if level != last:
            table[f"input_blocks.{first + n}.0.op"] = f"down_blocks.{level}.downsamplers.0.conv"
    for level, has_attention in enumerate(reversed(spec.depths)):
        first = level * (n + 1)
        for j in range(n + 1):
            table[f"output_blocks.{first + j}.0"] = f"up_blocks.{level}.resnets.{j}"
            if has_attention:
                table[f"output_blocks.{first + j}.1"] = f"up_blocks.{level}.attentions.{j}"
        if level != last:
            place = 2 if has_attention else 1
            table[f"output_blocks.{first + n}.{place}.conv"] = (
                f"up_blocks.{level}.upsamplers.0.conv"
            )
    return table


def unet_names(names: Iterable[str], spec: UNetSpec) -> dict[str, str]:
    """Original names (no prefix) → diffusers names; names of no known module are left out."""
    prefixes = unet_prefixes(spec)
    found = {}
    for name in names:
        module = _known_module(name, prefixes)
        if module is None:
            continue
        target, rest = prefixes[module], name[len(module) + 1 :]
        if ".resnets." in target:
            rest = _renamed(rest, _UNET_RESNET)
        found[name] = f"{target}.{rest}"
    return found


def _known_module(name: str, prefixes: dict[str, str]) -> str | None:
    """The longest known module that holds this tensor."""
    parts = name.split(".")
    for count in range(min(4, len(parts) - 1), 0, -1):
        module = ".".join(parts[:count])
        if module in prefixes:
            return module
    return None


def _renamed(rest: str, table: dict[str, str]) -> str:
    module, _, leaf = rest.rpartition(".")
    return f"{table[module]}.{leaf}" if module in table else rest


def vae_prefixes(spec: VaeSpec) -> dict[str, str]:
    """Module names of the autoencoder, original → diffusers."""
    last = len(spec.channels) - 1
    table = {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
    for side in ("encoder", "decoder"):
        table |= {
            f"{side}.conv_in": f"{side}.conv_in",
            f"{side}.conv_out": f"{side}.conv_out",
            f"{side}.norm_out": f"{side}.conv_norm_out",
            f"{side}.mid.block_1": f"{side}.mid_block.resnets.0",
            f"{side}.mid.block_2": f"{side}.mid_block.resnets.1",
            f"{side}.mid.attn_1": f"{side}.mid_block.attentions.0",
        }
    for level in range(last + 1):
        for j in range(spec.res_blocks):
            table[f"encoder.down.{level}.block.{j}"] = f"encoder.down_blocks.{level}.resnets.{j}"
        if level != last:
            table[f"encoder.down.{level}.downsample.conv"] = (
                f"encoder.down_blocks.{level}.downsamplers.0.conv"
            )
        up = last - level  # the original counts decoder levels from the picture inwards
        for j in range(spec.res_blocks + 1):
            table[f"decoder.up.{level}.block.{j}"] = f"decoder.up_blocks.{up}.resnets.{j}"
        if level:
            table[f"decoder.up.{level}.upsample.conv"] = f"decoder.up_blocks.{up}.upsamplers.0.conv"
    return table


def vae_names(names: Iterable[str], spec: VaeSpec) -> dict[str, str]:
    """Original names (no prefix) → diffusers names. The attention's 1×1 convolutions become
    matrices there: same data, last two axes dropped."""
    prefixes = vae_prefixes(spec)
    found = {}
    for name in names:
        module = next((m for m in _modules_of(name) if m in prefixes), None)
        if module is None:
            continue
        target, rest = prefixes[module], name[len(module) + 1 :]
        if ".resnets." in target:
            rest = _renamed(rest, _VAE_RESNET)
        elif ".attentions." in target:
            rest = _renamed(rest, _VAE_ATTENTION)
        found[name] = f"{target}.{rest}"
    return found


def _modules_of(name: str) -> list[str]:
    """Every module that holds a tensor, innermost first."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]


def modern_vae_name(name: str) -> str:
    """A diffusers VAE name as diffusers writes it today (before 0.18 attention said ``query``)."""
    head, dot, rest = name.partition(".attentions.0.")
    if not dot:
        return name
    return head + dot + _renamed(rest, _OLD_DIFFUSERS_ATTENTION)


_DIFFUSERS_VAE = (
    (re.compile(r"^(encoder)\.down_blocks\.(\d+)\.resnets\.(\d+)\."), r"\1.down.\2.block.\3."),
)


def vae_shape_names(names: Iterable[str]) -> dict[str, str]:
    """Diffusers VAE names → the original names that show the model's shape (encoder blocks and
    the convolutions at both ends keep their meaning)."""
    found = {}
    for name in names:
        for pattern, original in _DIFFUSERS_VAE:
            name_there = pattern.sub(original, name)
            found[name] = name_there
    return found


def text_name(name: str) -> str:
    """A CLIP text encoder's tensor under transformers 5's flat name (no ``text_model.``)."""
    return name.removeprefix("text_model.")


def has_open_clip_names(names: Collection[str]) -> bool:
    """Whether a text encoder is stored under OpenCLIP's names, not under transformers'."""
    return not _OPEN_CLIP.keys().isdisjoint(names)


def text_sources(names: Collection[str]) -> dict[str, Source]:
    """Flat transformers name of each tensor of a text encoder → where it is.

    Args:
        names: Stored names, without prefix; OpenCLIP's or transformers'.
    """
    if has_open_clip_names(names):
        return {new: source for name in names for new, source in _from_open_clip(name)}
    # positions are a constant, stored wrongly by some mergers
    return whole({text_name(n): n for n in names if not n.endswith("position_ids")})


_OPEN_CLIP = {
    "positional_embedding": "embeddings.position_embedding.weight",
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_OPEN_CLIP_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_OPEN_CLIP_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)$")


def _from_open_clip(name: str) -> list[tuple[str, Source]]:
    """The tensors that one of OpenCLIP's holds; none for its constants."""
    if name in _OPEN_CLIP:
        return [(_OPEN_CLIP[name], Source(name))]
    if name == "text_projection":  # multiplied from the other side there
        return [("text_projection.weight", Source(name, is_transposed=True))]
    if name == "text_projection.weight":
        return [(name, Source(name))]
    match = _OPEN_CLIP_BLOCK.match(name)
    if match is None:
        return []
    layer, rest = f"encoder.layers.{match[1]}", match[2]
    if rest.startswith("attn.in_proj_"):  # queries, keys and values below each other
        leaf = rest.removeprefix("attn.in_proj_")
        return [
            (f"{layer}.self_attn.{one}_proj.{leaf}", Source(name, third))
            for third, one in enumerate("qkv")
        ]
    renamed = _renamed(rest, _OPEN_CLIP_LAYER)
    return [] if renamed == rest else [(f"{layer}.{renamed}", Source(name))]
