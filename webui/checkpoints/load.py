"""Build a model from a file: empty networks of the file's shape, then its weights, no copies kept.

The networks are made on torch's ``meta`` device (no memory, no random numbers) and each tensor is
read from the mapped file, converted to its final dtype and device, and assigned. Nothing here
uses a network connection or a configuration file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from webui.checkpoints.conversion import modern_vae_name, text_name, unet_names, vae_names
from webui.checkpoints.headers import Header, read_header
from webui.checkpoints.identify import identify, identify_folder, identify_vae
from webui.checkpoints.rules import CLIP, UNET, VAE
from webui.checkpoints.specs import ArchSpec, TextSpec, UNetSpec, VaeSpec
from webui.checkpoints.weights import RenamedWeights, Weights, open_weights
from webui.errors import CheckpointError, DeviceMemoryError
from webui.networks.packing import pack_weights, packed_bytes

logger = logging.getLogger(__name__)

TRAIN_TIMESTEPS: Final = 1000
BETA_START: Final = 0.00085
BETA_END: Final = 0.012
"""v1-inference.yaml: linear_start, linear_end; "linear" in the square root of beta."""

FOLDER_FILES: Final = {
    "unet": ("diffusion_pytorch_model",),
    "vae": ("diffusion_pytorch_model",),
    "text_encoder": ("model", "pytorch_model"),
}
FOLDER_ENDINGS: Final = (".safetensors", ".fp16.safetensors", ".bin", ".fp16.bin")
"""Files of a diffusers folder's parts, in the order they are preferred."""


class HasPath(Protocol):
    """A catalog record, or anything else that knows its file."""

    @property
    def path(self) -> Path: ...


@dataclass
class LoadedModel:
    """A model in memory.

    Attributes:
        unet: Predicts noise (or v); call with latents, timestep, text states.
        vae: Pixels (B,3,H,W) in [-1, 1] ↔ latents before scaling; the factor is
            ``vae.config.scaling_factor``.
        alphas_cumprod: (1000,) float32 on the CPU, falling from 0.999 to 0.005 (or 0).
        dtype: Of U-Net and text encoder; the VAE may differ (``vae.dtype``).
        nbytes: Memory of all weights on the device.
        stray: Number of tensors in the file that belong to no part (EMA copies, optimiser …).
    """

    spec: ArchSpec
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    alphas_cumprod: torch.Tensor
    prediction_type: str
    device: torch.device
    dtype: torch.dtype
    path: Path
    vae_path: Path | None = None
    stray: int = 0
    extras: dict[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """Its networks by name, in the order in which painting uses them."""
        return {"text_encoder": self.text_encoder, "unet": self.unet, "vae": self.vae}

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters and buffers, measured now."""
        return sum(map(module_bytes, self.parts.values()))

    @property
    def scaling_factor(self) -> float:
        """What latents from the VAE are multiplied by."""
        return float(self.vae.config["scaling_factor"])


def module_bytes(module: nn.Module) -> int:
    """Bytes of a module's parameters, buffers and packed weights; shared storage counts once."""
    seen: dict[int, int] = {0: packed_bytes(module)}
    for tensor in (*module.parameters(), *module.buffers()):
        storage = tensor.untyped_storage()
        seen[storage.data_ptr() or id(tensor)] = storage.nbytes()
    return sum(seen.values())


def load_checkpoint(
    checkpoint: HasPath | str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    vae_path: Path | None = None,
    vae_dtype: torch.dtype | None = None,
    vae: AutoencoderKL | None = None,
    for_painting: bool = True,
) -> LoadedModel:
    """Load an SD 1.x checkpoint file or diffusers folder.

    Args:
        checkpoint: A catalog record or a path.
        device: Where the weights go.
        dtype: Of U-Net and text encoder.
        vae_path: A separate VAE file that replaces the checkpoint's own.
        vae_dtype: Of the VAE; None = ``dtype``.
        vae: One that is in memory already, used as it is; it came from ``vae_path`` or, where
            that is None, from the checkpoint.
        for_painting: Lay weights out for speed (``networks/packing.py`` on the CPU, channels
            last on GPUs). False leaves ordinary modules: for training, or to save the weights.
    Raises:
        CheckpointError: Unreadable, damaged, or a part is missing.
        UnknownArchitectureError: Not an SD 1.x model; the message says what it is.
        UnsafeCheckpointError: A pickle that asks for more than tensors.
        DeviceMemoryError: The device is full.
    """
    path = _path_of(checkpoint)
    target = torch.device(device)
    started = time.perf_counter()
    try:
        load = _load_folder if path.is_dir() else _load_file
        model = load(path, target, dtype, vae_path, vae_dtype or dtype, vae)
    except (torch.OutOfMemoryError, MemoryError) as err:
        raise DeviceMemoryError(
            f"{path.name} does not fit into the memory of {target}.",
            "Close other programs that use it, or start with --medvram or --lowvram.",
            path=str(path),
        ) from err
    if for_painting:
        lay_out_for_speed(model)
    logger.info("Loaded %s in %.1f s.", path.name, time.perf_counter() - started)
    return model


def lay_out_for_speed(model: LoadedModel) -> None:
    """Put the weights into the memory layout the device is fastest with; values stay."""
    if model.device.type == "cpu":
        for network in (model.unet, model.vae, model.text_encoder):
            pack_weights(network)
    elif model.device.type in ("cuda", "xpu"):
        for network in (model.unet, model.vae):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _path_of(checkpoint: HasPath | str | Path) -> Path:
    return Path(checkpoint) if isinstance(checkpoint, (str, Path)) else Path(checkpoint.path)


def estimate_bytes(
    checkpoint: HasPath | str | Path, dtype: torch.dtype, vae_dtype: torch.dtype | None = None
) -> int:
    """Memory a checkpoint will need once loaded, from its header alone.

    Raises:
        CheckpointError: The file cannot be read.
    """
    path = _path_of(checkpoint)
    if path.is_dir():
        parts = {part: read_header(_folder_file(path, part)).tensors for part in FOLDER_FILES}
    else:
        parts = {"": read_header(path).tensors}
    total = 0
    for part, tensors in parts.items():
        for name, info in tensors.items():
            if name.endswith("position_ids"):
                continue  # made, not loaded
            if part or name.startswith((UNET, VAE, CLIP)):
                is_vae = part == "vae" or name.startswith(VAE)
                total += info.count * ((vae_dtype or dtype) if is_vae else dtype).itemsize
    return total


def _load_file(
    path: Path,
    device: torch.device,
    dtype: torch.dtype,
    vae_path: Path | None,
    vae_dtype: torch.dtype,
    vae: AutoencoderKL | None,
) -> LoadedModel:
    with open_weights(path) as weights:
        spec = identify(weights.header)
        _require_parts(path, spec, vae_path)
        assert spec.text is not None
        names = single_file_names(weights.header, spec)
        unet = _filled(build_unet(spec.unet), weights, names["unet"], device, dtype)
        text = _filled(build_text(spec.text), weights, names["text_encoder"], device, dtype)
        used = sum(map(len, names.values()))
        if vae is None and vae_path is not None:
            vae = load_vae(vae_path, device=device, dtype=vae_dtype, like=spec.vae)
        elif vae is None:
            assert spec.vae is not None
            vae = _filled(build_vae(spec.vae), weights, names["vae"], device, vae_dtype)
        stray = len(weights.header.tensors) - used
    return _joined(path, spec, unet, vae, text, device, dtype, vae_path, stray)


def _load_folder(
    path: Path,
    device: torch.device,
    dtype: torch.dtype,
    vae_path: Path | None,
    vae_dtype: torch.dtype,
    vae: AutoencoderKL | None,
) -> LoadedModel:
    spec = identify_folder(path)
    assert spec.vae is not None and spec.text is not None
    unet = _filled_from_folder(path, "unet", build_unet(spec.unet), device, dtype)
    text = _filled_from_folder(path, "text_encoder", build_text(spec.text), device, dtype)
    if vae is None and vae_path is not None:
        vae = load_vae(vae_path, device=device, dtype=vae_dtype, like=spec.vae)
    elif vae is None:
        vae = _filled_from_folder(path, "vae", build_vae(spec.vae), device, vae_dtype)
    return _joined(path, spec, unet, vae, text, device, dtype, vae_path, stray=0)


def _joined(
    path: Path,
    spec: ArchSpec,
    unet: Any,
    vae: Any,
    text: Any,
    device: torch.device,
    dtype: torch.dtype,
    vae_path: Path | None,
    stray: int,
) -> LoadedModel:
    return LoadedModel(
        spec=spec,
        unet=unet,
        vae=vae,
        text_encoder=text,
        alphas_cumprod=alphas_cumprod(zero_terminal_snr=spec.zero_terminal_snr),
        prediction_type=spec.prediction_type,
        device=device,
        dtype=dtype,
        path=path,
        vae_path=vae_path,
        stray=stray,
    )


def _require_parts(path: Path, spec: ArchSpec, vae_path: Path | None) -> None:
    missing = [part for part in spec.missing if part != "vae" or vae_path is None]
    if "text_encoder" in missing:
        raise CheckpointError(
            f"{path.name} holds no text encoder, so prompts cannot be read.",
            "Choose a complete checkpoint.",
            path=str(path),
        )
    if missing:
        raise CheckpointError(
            f"{path.name} holds no VAE.",
            "Choose a VAE file for it (put one into models/VAE), or a complete checkpoint.",
            path=str(path),
        )


def alphas_cumprod(*, zero_terminal_snr: bool = False) -> torch.Tensor:
    """SD 1.x's noise schedule: products of 1 − beta.

    Returns:
        (1000,) float32, falling.
    Source:
        v1-inference.yaml ("scaled linear" betas); zero terminal SNR: Lin et al. 2023,
        arXiv 2305.08891, algorithm 1.
    """
    roots = torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAIN_TIMESTEPS, dtype=torch.float64)
    products = torch.cumprod(1 - roots**2, dim=0)  # (1000,)
    if zero_terminal_snr:
        signal = products.sqrt()
        shifted = signal - signal[-1]
        products = (shifted * signal[0] / shifted[0]) ** 2
    return products.float()


def build_unet(spec: UNetSpec) -> UNet2DConditionModel:
    """An empty U-Net on the meta device."""
    with torch.device("meta"):
        return UNet2DConditionModel(**spec.config())


def build_vae(spec: VaeSpec) -> AutoencoderKL:
    """An empty autoencoder on the meta device."""
    with torch.device("meta"):
        return AutoencoderKL(**spec.config())


def build_text(spec: TextSpec) -> CLIPTextModel:
    """An empty CLIP text encoder on the meta device."""
    with torch.device("meta"):
        return CLIPTextModel(CLIPTextConfig(**spec.config()))


def single_file_names(header: Header, spec: ArchSpec) -> dict[str, dict[str, str]]:
    """For each part: wanted (diffusers or transformers) name → name in the file."""

    def below(prefix: str) -> list[str]:
        return [n[len(prefix) :] for n in header.tensors if n.startswith(prefix)]

    unet = unet_names(below(UNET), spec.unet)
    found = {"unet": {new: UNET + old for old, new in unet.items()}}
    if spec.vae is not None:
        vae = vae_names(below(VAE), spec.vae)
        found["vae"] = {new: VAE + old for old, new in vae.items()}
    found["text_encoder"] = {
        text_name(name): CLIP + name
        for name in below(CLIP)
        if not name.endswith("position_ids")  # a constant, stored wrongly by some mergers
    }
    return found


def _filled(
    module: nn.Module,
    weights: Weights,
    names: Mapping[str, str],
    device: torch.device,
    dtype: torch.dtype,
) -> Any:
    """Give an empty (meta) module its weights.

    Raises:
        CheckpointError: Tensors are missing or have the wrong shape.
    """
    source = RenamedWeights(weights, _with_module_prefix(module, names))
    expected = module.state_dict()
    _check_names(weights.header.path, expected, source.names)
    state = {}
    for name, empty in expected.items():
        stored = _reshaped(source.read(name), empty.shape)
        if stored is None:
            raise CheckpointError(
                f"{source.names[name]!r} in {weights.header.path.name} has the shape "
                f"{list(source.info(name).shape)}; {list(empty.shape)} was expected.",
                "The file is damaged or of a variant that is not supported.",
                path=str(weights.header.path),
            )
        state[name] = stored.to(device=device, dtype=dtype, copy=True)
    module.load_state_dict(state, strict=True, assign=True)
    _fill_constants(module, device)
    return module.eval().requires_grad_(False)


def _with_module_prefix(module: nn.Module, names: Mapping[str, str]) -> Mapping[str, str]:
    """transformers before 5 keeps the text encoder below ``text_model.``; 5 is flat."""
    if hasattr(module, "text_model"):
        return {f"text_model.{name}": old for name, old in names.items()}
    return names


def _check_names(path: Path, expected: Iterable[str], found: Mapping[str, str]) -> None:
    missing = [name for name in expected if name not in found]
    if missing:
        shown = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        raise CheckpointError(
            f"{path.name} lacks {len(missing)} of the tensors its model needs: {shown}",
            "The file is incomplete: download it again, or choose another one.",
            path=str(path),
            missing=missing[:50],
        )


def _reshaped(stored: torch.Tensor, shape: torch.Size) -> torch.Tensor | None:
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


def _folder_file(path: Path, part: str) -> Path:
    for stem in FOLDER_FILES[part]:
        for ending in FOLDER_ENDINGS:
            if (file := path / part / f"{stem}{ending}").exists():
                return file
    raise CheckpointError(
        f"{path / part} holds no weights ({FOLDER_FILES[part][0]}.safetensors).",
        "Get the folder again.",
        path=str(path),
    )


def _filled_from_folder(
    path: Path, part: str, module: nn.Module, device: torch.device, dtype: torch.dtype
) -> Any:
    with open_weights(_folder_file(path, part)) as weights:
        rename = {"vae": modern_vae_name, "text_encoder": text_name}.get(part, str)
        names = {rename(n): n for n in weights.header.tensors if not n.endswith("position_ids")}
        return _filled(module, weights, names, device, dtype)


def load_vae(
    path: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    like: VaeSpec | None = None,
) -> AutoencoderKL:
    """Load a separate VAE file, with original or diffusers names.

    Args:
        like: The checkpoint's own VAE; its scaling factor is kept, since the U-Net was trained
            on latents of that scale.
    Raises:
        CheckpointError: Unreadable, incomplete, or no VAE for four-channel latents.
    """
    with open_weights(path) as weights:
        spec = identify_vae(weights.header)
        names = vae_file_names(weights.header, spec)
        vae = _filled(build_vae(spec), weights, names, torch.device(device), dtype)
    if like is not None:
        vae.register_to_config(scaling_factor=like.scaling_factor)
    return vae


def load_own_vae(
    checkpoint: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> AutoencoderKL:
    """Load only the VAE that is inside a checkpoint file or diffusers folder.

    Raises:
        CheckpointError: As ``load_checkpoint``.
    """
    target = torch.device(device)
    if checkpoint.is_dir():
        spec = identify_folder(checkpoint)
        assert spec.vae is not None
        return _filled_from_folder(checkpoint, "vae", build_vae(spec.vae), target, dtype)
    with open_weights(checkpoint) as weights:
        spec = identify(weights.header)
        _require_parts(checkpoint, spec, None)
        assert spec.vae is not None
        names = single_file_names(weights.header, spec)["vae"]
        return _filled(build_vae(spec.vae), weights, names, target, dtype)


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
