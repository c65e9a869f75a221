"""Build the networks of a model and fill them from open files, each tensor once.

Networks are made on torch's ``meta`` device (no memory, no random numbers) and each tensor is read
from the open file, converted to its final dtype and device, and assigned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from webui.checkpoints.conversion import (
    Source,
    modern_vae_name,
    text_sources,
    unet_names,
    vae_names,
    whole,
)
from webui.checkpoints.families import FAMILIES
from webui.checkpoints.headers import Header, read_header
from webui.checkpoints.identify import identify_vae, text_prefix
from webui.checkpoints.keys import UNET, VAE, Keys
from webui.checkpoints.rereading import StoredWeights
from webui.checkpoints.specs import ArchSpec, TextSpec, UNetSpec, VaeSpec
from webui.checkpoints.weights import RenamedWeights, Weights, open_weights
from webui.errors import CheckpointError
from webui.networks.lora.holding import set_originals
from webui.networks.small_weights import first_stored, small_weights

PROJECTION: Final = "text_projection.weight"
FOLDER_STEMS: Final = ("diffusion_pytorch_model", "model", "pytorch_model")
FOLDER_ENDINGS: Final = (".safetensors", ".fp16.safetensors", ".bin", ".fp16.bin")
"""Files of a diffusers folder's parts, in the order they are preferred."""


@dataclass(frozen=True)
class Place:
    """Where a network's weights go and as what.

    Attributes:
        keeps_half: Of weights that are stored small the originals stay too.
    """

    device: torch.device
    dtype: torch.dtype
    keeps_half: bool = False


def build_unet(spec: UNetSpec) -> UNet2DConditionModel:
    """An empty U-Net on the meta device."""
    with torch.device("meta"):
        return UNet2DConditionModel(**spec.config())


def build_vae(spec: VaeSpec) -> AutoencoderKL:
    """An empty autoencoder on the meta device."""
    with torch.device("meta"):
        return AutoencoderKL(**spec.config())


def build_text(spec: TextSpec) -> CLIPTextModel | CLIPTextModelWithProjection:
    """An empty CLIP text encoder on the meta device."""
    kind = CLIPTextModelWithProjection if spec.projection else CLIPTextModel
    with torch.device("meta"):
        return kind(CLIPTextConfig(**spec.config()))


def empty_parts(spec: ArchSpec) -> dict[str, nn.Module]:
    """Every network that the file of a model holds, on the meta device, by its name."""
    parts: dict[str, nn.Module] = {"unet": build_unet(spec.unet)}
    if spec.vae is not None:
        parts["vae"] = build_vae(spec.vae)
    for part, text in zip(FAMILIES[spec.family].texts, spec.texts, strict=bool(spec.texts)):
        parts[part.folder] = build_text(text)
    return parts


def single_file_sources(header: Header, spec: ArchSpec) -> dict[str, dict[str, Source]]:
    """For each part of a model: wanted (diffusers or transformers) name → where it is."""
    keys = Keys(header)
    unet = unet_names(keys.under(UNET), spec.unet)
    found = {"unet": whole({new: UNET + old for old, new in unet.items()})}
    if spec.vae is not None:
        vae = vae_names(keys.under(VAE), spec.vae)
        found["vae"] = whole({new: VAE + old for old, new in vae.items()})
    for part in FAMILIES[spec.family].texts if spec.texts else ():
        prefix = text_prefix(keys, part)
        sources = text_sources(keys.under(prefix))
        found[part.folder] = {
            new: Source(prefix + s.name, s.third, s.is_transposed) for new, s in sources.items()
        }
    return found


def filled(module: nn.Module, weights: Weights, sources: Mapping[str, Source], at: Place) -> Any:
    """Give an empty (meta) module its weights.

    Args:
        sources: Wanted name → where it is; more than are wanted do no harm.
    Raises:
        CheckpointError: Tensors are missing or have the wrong shape.
    """
    source = RenamedWeights(weights, _with_module_prefix(module, sources))
    expected = module.state_dict()
    _check_names(weights.header.path, expected, source.sources)
    small = small_weights(module)
    state = {}
    for name, empty in expected.items():
        stored = reshaped(source.read(name, None if name in small else at.dtype), empty.shape)
        if stored is None:
            raise CheckpointError(
                f"{source.sources[name].name!r} in {weights.header.path.name} has the shape "
                f"{list(source.info(name).shape)}; {list(empty.shape)} was expected.",
                "The file is damaged or of a variant that is not supported.",
                path=str(weights.header.path),
            )
        if name in small:
            kept = first_stored(small[name], stored, keeps_half=at.keeps_half)
            state[name] = kept.to(at.device)
        else:
            state[name] = stored.to(at.device)
    module.load_state_dict(state, strict=True, assign=True)
    _fill_constants(module, at.device)
    originals = StoredWeights(weights.header, source.sources)
    if not small and originals.open() is not None:
        set_originals(module, originals)
    return module.eval().requires_grad_(False)


def wanted_sources(module: nn.Module, sources: Mapping[str, Source]) -> list[Source]:
    """Those of the sources that a module takes."""
    named = _with_module_prefix(module, sources)
    return [named[name] for name in module.state_dict() if name in named]


def _with_module_prefix(module: nn.Module, sources: Mapping[str, Source]) -> Mapping[str, Source]:
    """A text encoder with a projection (and any, before transformers 5) keeps the rest below
    ``text_model.``."""
    if hasattr(module, "text_model"):
        return {n if n == PROJECTION else f"text_model.{n}": s for n, s in sources.items()}
    return sources


def _check_names(path: Path, expected: Iterable[str], found: Mapping[str, Source]) -> None:
    missing = [name for name in expected if name not in found]
    if missing:
        shown = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        raise CheckpointError(
            f"{path.name} lacks {len(missing)} of the tensors its model needs: {shown}",
            "The file is incomplete: download it again, or choose another one.",
            path=str(path),
            missing=missing[:50],
        )


def reshaped(stored: torch.Tensor, shape: torch.Size) -> torch.Tensor | None:
    """The tensor in the wanted shape; 1×1 convolutions and matrices hold the same data."""
    if stored.shape == shape:
        return stored
    is_same = [n for n in stored.shape if n != 1] == [n for n in shape if n != 1]
    return stored.reshape(shape) if is_same else None


def _fill_constants(module: nn.Module, device: torch.device) -> None:
    """Buffers that are not stored in files: the positions 0 … 76 of the text encoder."""
    for name, buffer in list(module.named_buffers()):
        if not buffer.is_meta:
            continue
        owner = module.get_submodule(name.rpartition(".")[0])
        assert name.endswith("position_ids"), f"no value is known for the constant {name}"
        positions = torch.arange(buffer.shape[-1], device=device).expand(1, -1)
        owner.register_buffer("position_ids", positions, persistent=False)


def folder_file(path: Path, part: str) -> Path:
    """The weights of one part of a diffusers folder.

    Raises:
        CheckpointError: There are none.
    """
    for stem in FOLDER_STEMS:
        for ending in FOLDER_ENDINGS:
            if (file := path / part / f"{stem}{ending}").exists():
                return file
    raise CheckpointError(
        f"{path / part} holds no weights ({FOLDER_STEMS[part.startswith('text')]}.safetensors).",
        "Get the folder again.",
        path=str(path),
    )


def folder_sources(header: Header, part: str) -> dict[str, Source]:
    """Wanted name → where it is, in a file of a diffusers folder."""
    if part.startswith("text"):
        return text_sources(header.tensors)
    rename = modern_vae_name if part == "vae" else str
    return whole({rename(name): name for name in header.tensors})


def filled_from_folder(path: Path, part: str, module: nn.Module, at: Place) -> Any:
    """Give an empty (meta) module its weights out of a diffusers folder.

    Raises:
        CheckpointError: As ``filled``, or there is no file.
    """
    with open_weights(folder_file(path, part)) as weights:
        return filled(module, weights, folder_sources(weights.header, part), at)


def part_files(path: Path, spec: ArchSpec) -> dict[str, tuple[Header, Mapping[str, Source]]]:
    """The file that holds each part of a model, and what of it is wanted; headers only.

    Raises:
        CheckpointError: One cannot be read.
    """
    if path.is_dir():
        headers = {part: read_header(folder_file(path, part)) for part in empty_parts(spec)}
        return {part: (h, folder_sources(h, part)) for part, h in headers.items()}
    header = read_header(path)
    return {part: (header, s) for part, s in single_file_sources(header, spec).items()}


def load_vae(
    path: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> AutoencoderKL:
    """Load a separate VAE file, with original or diffusers names.

    Raises:
        CheckpointError: Unreadable, incomplete, or no VAE for four-channel latents.
    """
    with open_weights(path) as weights:
        spec = identify_vae(weights.header)
        names = whole(vae_file_names(weights.header, spec))
        return filled(build_vae(spec), weights, names, Place(torch.device(device), dtype))


def vae_file_names(header: Header, spec: VaeSpec) -> dict[str, str]:
    """Diffusers name → name in a separate VAE file, whichever names it uses."""
    found = {}
    for name in header.tensors:
        plain = name.removeprefix(VAE).removeprefix("vae.")
        if "_blocks." in plain or "mid_block." in plain:
            found[modern_vae_name(plain)] = name
            continue
        converted = vae_names([plain], spec)
        # conv_norm_out exists only in diffusers' naming; every other short name is shared
        found[converted.get(plain, plain)] = name
    return found
