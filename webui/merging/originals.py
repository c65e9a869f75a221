"""The tensors of a diffusers folder under the names of single files: the tables read backwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from webui.checkpoints.conversion import Source, text_sources, vae_names, vae_prefixes
from webui.checkpoints.families import FAMILIES
from webui.checkpoints.families.model import TextPart
from webui.checkpoints.folders import identify_folder
from webui.checkpoints.headers import TensorInfo
from webui.checkpoints.keys import UNET, VAE
from webui.checkpoints.load_parts import part_files
from webui.checkpoints.specs import ArchSpec, VaeSpec
from webui.checkpoints.weights import RenamedWeights, dtype_of, open_weights
from webui.checkpoints.write import NAMES, NewTensor
from webui.merging.convert import narrowed, wanted_format
from webui.networks.lora.names import original_unet_names

_LEAVES: Final = ("weight", "bias")
_VAE_INNER: Final = (
    "", "norm1", "conv1", "norm2", "conv2", "nin_shortcut", "norm", "q", "k", "v", "proj_out",
)  # fmt: skip
_OPEN_CLIP_ALONE: Final = (
    "positional_embedding", "token_embedding.weight", "ln_final.weight", "ln_final.bias",
    "text_projection",
)  # fmt: skip
_OPEN_CLIP_INNER: Final = (
    "ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias", "attn.in_proj_weight",
    "attn.in_proj_bias", "attn.out_proj.weight", "attn.out_proj.bias", "mlp.c_fc.weight",
    "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias",
)  # fmt: skip


@contextmanager
def single_file_tensors(path: Path, precision: str) -> Iterator[list[NewTensor]]:
    """Everything a single file of this folder's model holds.

    Raises:
        CheckpointError: The folder cannot be read.
    """
    spec = identify_folder(path)
    texts = {text.folder: text for text in FAMILIES[spec.family].texts}
    found: list[NewTensor] = []
    with ExitStack() as opened:
        for part, (header, sources) in part_files(path, spec).items():
            weights = opened.enter_context(open_weights(header.path))
            part_weights = RenamedWeights(weights, sources)
            originals = _originals(part, sources, spec, texts.get(part))
            found += [
                _tensor(part_weights, name, wanted, precision, is_vae=part == "vae")
                for name, wanted in originals.items()
            ]
        yield found


def _originals(
    part: str, names: Mapping[str, Source], spec: ArchSpec, text: TextPart | None
) -> dict[str, list[Source]]:
    """Original name → the folder's tensors it is made of, ``third`` telling which part each is."""
    if text is not None:
        return _text_originals(names, text, spec)
    if part == "vae":
        assert spec.vae is not None
        table = original_vae_names(spec.vae)
        return {VAE + table[name]: [Source(name)] for name in names if name in table}
    layers = original_unet_names({name.rpartition(".")[0] for name in names})
    found: dict[str, list[Source]] = {}
    for name in names:
        layer, _, leaf = name.rpartition(".")
        if layer in layers:
            found[f"{UNET}{layers[layer]}.{leaf}"] = [Source(name)]
    return found


def original_vae_names(spec: VaeSpec) -> dict[str, str]:
    """Diffusers' names of an autoencoder's tensors → the original ones."""
    candidates = [
        ".".join(part for part in (module, inner, leaf) if part)
        for module in vae_prefixes(spec)
        for inner in _VAE_INNER
        for leaf in _LEAVES
    ]
    return {new: old for old, new in vae_names(candidates, spec).items()}


def _text_originals(
    names: Mapping[str, Source], text: TextPart, spec: ArchSpec
) -> dict[str, list[Source]]:
    prefix = text.prefixes[0]
    if not text.is_open_clip:
        return {f"{prefix}text_model.{name}": [Source(name)] for name in names}
    layers = max((one.layers for one in spec.texts), default=0)
    stored = [*_OPEN_CLIP_ALONE]
    for layer in range(layers):
        stored += [f"transformer.resblocks.{layer}.{inner}" for inner in _OPEN_CLIP_INNER]
    found: dict[str, list[Source]] = {}
    for new, source in text_sources(stored).items():
        if new in names:
            whole = found.setdefault(prefix + source.name, [])
            whole.append(Source(new, source.third, source.is_transposed))
    return {name: sorted(parts, key=lambda s: s.third or 0) for name, parts in found.items()}


def _tensor(
    weights: RenamedWeights, name: str, parts: list[Source], precision: str, *, is_vae: bool
) -> NewTensor:
    def value() -> Tensor:
        tensors = [weights.read(part.name) for part in parts]
        joined = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
        return joined.T if parts[0].is_transposed else joined

    infos = [weights.info(part.name) for part in parts]
    shape = infos[0].shape
    if len(parts) > 1:
        shape = (sum(info.shape[0] for info in infos), *shape[1:])
    elif parts[0].is_transposed:
        shape = shape[::-1]
    if is_vae and ".attn_1." in name and len(shape) == 2:
        shape = (*shape, 1, 1)  # matrices are 1×1 convolutions in single files
    dtype = wanted_format(dtype_of(weights.header.path, infos[0]), precision)
    info = TensorInfo(NAMES[dtype], shape)
    return NewTensor(name, info, lambda: (narrowed(value(), dtype, name).contiguous(),))
