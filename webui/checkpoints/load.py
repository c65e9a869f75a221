"""Load a model: identify its file, build empty networks of its shape, fill them; no copies kept.

``load_parts.py`` does the building and filling. Nothing here uses a network connection or a
configuration file beside those of diffusers folders.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from webui.checkpoints.families import FAMILIES
from webui.checkpoints.families.model import DiffusionModel
from webui.checkpoints.folders import identify_folder
from webui.checkpoints.identify import identify, identify_file
from webui.checkpoints.load_parts import (
    Place,
    empty_parts,
    filled,
    filled_from_folder,
    load_vae,
    part_files,
    single_file_sources,
    wanted_sources,
)
from webui.checkpoints.specs import ArchSpec
from webui.checkpoints.weights import Weights, open_weights
from webui.errors import CheckpointError, ModelTooLargeError
from webui.networks.packing import pack_weights, packed_bytes
from webui.networks.small_weights import SMALL, SmallWeights, store_small
from webui.samplers.schedules import stable_diffusion_alphas_cumprod, zero_terminal_snr

logger = logging.getLogger(__name__)

PROBED_TIMESTEP = 999
SAYS_V = -1.0
"""Where a network is asked which prediction it was trained for, see ``asked_prediction``."""


class HasPath(Protocol):
    """A catalog record, or anything else that knows its file."""

    @property
    def path(self) -> Path: ...


@dataclass
class LoadedModel:
    """A model in memory.

    Attributes:
        unet: Predicts noise (or v); call with latents, timestep, text states and, where the
            family has them, the pooled vector and the numbers about the pass.
        vae: Pixels (B,3,H,W) in [-1, 1] ↔ latents before scaling.
        text_encoders: In the order of ``family.texts``.
        alphas_cumprod: (1000,) float32 on the CPU, falling from 0.999 to 0.005 (or almost 0).
        dtype: Of U-Net and text encoders; the VAE may differ (``vae.dtype``).
        stray: Number of tensors in the file that belong to no part (EMA copies, optimiser …).
    """

    spec: ArchSpec
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoders: tuple[Any, ...]
    alphas_cumprod: torch.Tensor
    prediction_type: str
    device: torch.device
    dtype: torch.dtype
    path: Path
    vae_path: Path | None = None
    stray: int = 0
    extras: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> DiffusionModel:
        """What is particular about its family."""
        return FAMILIES[self.spec.family]

    @property
    def text_encoder(self) -> Any:
        """The text encoder of families that have one."""
        (only,) = self.text_encoders
        return only

    @property
    def parts(self) -> dict[str, nn.Module]:
        """Its networks by name, in the order in which painting uses them."""
        names = (part.folder for part in self.family.texts)
        texts = dict(zip(names, self.text_encoders, strict=True))
        return {**texts, "unet": self.unet, "vae": self.vae}

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters and buffers, measured now."""
        return sum(map(module_bytes, self.parts.values()))

    @property
    def scaling_factor(self) -> float:
        """What latents from the VAE are multiplied by: of the checkpoint's own, on whose latents
        the U-Net was trained, also when another VAE is used."""
        own = self.spec.vae
        return own.scaling_factor if own else self.family.scaling_factor


def module_bytes(module: nn.Module) -> int:
    """Bytes of a module's parameters, buffers and packed weights; shared storage counts once."""
    seen: dict[int, int] = {0: packed_bytes(module)}
    for tensor in (*module.parameters(), *module.buffers()):
        storage = tensor.untyped_storage()
        seen[storage.data_ptr() or id(tensor)] = storage.nbytes()
    return sum(seen.values())


@contextmanager
def telling_lack_of_memory(path: Path, device: torch.device) -> Generator[None, None, None]:
    """Say in words that a model which is loaded inside does not fit.

    Raises:
        ModelTooLargeError: The device is full.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as err:
        raise ModelTooLargeError(
            f"{path.name} does not fit into the memory of {device}.",
            "Close other programs that use it, or start with --medvram or --lowvram.",
            path=str(path),
        ) from err


def load_checkpoint(
    checkpoint: HasPath | str | Path,
    *,
    device: torch.device | str = "cpu",
    home: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    vae_path: Path | None = None,
    vae_dtype: torch.dtype | None = None,
    vae: AutoencoderKL | None = None,
    small_unet: SmallWeights | None = None,
    for_painting: bool = True,
) -> LoadedModel:
    """Load a checkpoint file or diffusers folder of a family that is painted with.

    Args:
        checkpoint: A catalog record or a path.
        device: Where it calculates.
        home: Where the weights go; None = the device.
        dtype: Of U-Net and text encoders.
        vae_path: A separate VAE file that replaces the checkpoint's own.
        vae_dtype: Of the VAE; None = ``dtype``.
        vae: One that is in memory already, used as it is; it came from ``vae_path`` or, where
            that is None, from the checkpoint.
        small_unet: Store the U-Net's large weights in one byte each; None = as ``dtype``.
        for_painting: Lay weights out for speed (``networks/packing.py`` on the CPU, channels
            last on GPUs). False leaves ordinary modules: for training, or to save the weights.
    Raises:
        CheckpointError: Unreadable, damaged, or a part is missing.
        UnknownArchitectureError: Another model; the message says what it is.
        UnsafeCheckpointError: A pickle that asks for more than tensors.
        ModelTooLargeError: The device is full.
    """
    path = _path_of(checkpoint)
    at = Place(home or torch.device(device), dtype)
    vae_at = Place(at.device, vae_dtype or dtype)
    unet_at = at
    started = time.perf_counter()
    with telling_lack_of_memory(path, at.device):
        if vae is None and vae_path is not None:
            vae = load_vae(vae_path, device=at.device, dtype=vae_at.dtype)
        with _opened(path) as opened:
            _require_parts(path, opened.spec, has_other_vae=vae is not None)
            modules = empty_parts(opened.spec)
            texts = [opened.fill(p.folder, modules, at) for p in opened.family.texts]
            if small_unet is not None:
                store_small(modules["unet"])
                unet_at = replace(at, keeps_half=small_unet.keeps_half)
            unet = opened.fill("unet", modules, unet_at)
            decoder: AutoencoderKL = vae or opened.fill("vae", modules, vae_at)
    spec = opened.spec
    is_asked = spec.prediction_type == "ask"
    model = LoadedModel(
        spec=spec,
        unet=unet,
        vae=decoder,
        text_encoders=tuple(texts),
        alphas_cumprod=alphas_cumprod(is_zero_terminal=spec.zero_terminal_snr),
        prediction_type=asked_prediction(unet, at) if is_asked else spec.prediction_type,
        device=torch.device(device),
        dtype=dtype,
        path=path,
        vae_path=vae_path,
        stray=opened.stray,
    )
    if for_painting:
        lay_out_for_speed(model)
    logger.info("Loaded %s in %.1f s.", path.name, time.perf_counter() - started)
    return model


def lay_out_for_speed(model: LoadedModel) -> None:
    """Put the weights into the memory layout the device is fastest with; values stay."""
    if model.device.type == "cpu":
        for network in model.parts.values():
            pack_weights(network)
    elif model.device.type in ("cuda", "xpu"):
        for network in (model.unet, model.vae):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _path_of(checkpoint: HasPath | str | Path) -> Path:
    return Path(checkpoint) if isinstance(checkpoint, (str, Path)) else Path(checkpoint.path)


def estimate_bytes(
    checkpoint: HasPath | str | Path,
    dtype: torch.dtype,
    vae_dtype: torch.dtype | None = None,
    *,
    has_small_unet: bool = False,
) -> int:
    """Memory a checkpoint will need once loaded, from its header alone.

    Args:
        has_small_unet: As ``small_unet`` of ``load_checkpoint``; its few other weights, too, are
            counted as one byte each.
    Raises:
        CheckpointError: The file cannot be read.
    """
    path = _path_of(checkpoint)
    spec = identify_file(path)
    files = part_files(path, spec)
    total = 0
    for part, module in empty_parts(spec).items():
        header, sources = files[part]
        size = (vae_dtype or dtype if part == "vae" else dtype).itemsize
        size = SMALL.itemsize if has_small_unet and part == "unet" else size
        for source in wanted_sources(module, sources):
            total += math.prod(source.shape(header.tensors[source.name])) * size
    return total


class _Opened:
    """A checkpoint whose parts can be filled.

    Attributes:
        spec: What it is.
        stray: Tensors in a single file that belong to no part.
    """

    def __init__(self, spec: ArchSpec, path: Path, weights: Weights | None = None) -> None:
        self.spec = spec
        self.stray = 0
        self._path = path
        self._weights = weights
        if weights is not None:
            self._sources = single_file_sources(weights.header, spec)
            used = {one.name for part in self._sources.values() for one in part.values()}
            self.stray = len(weights.header.tensors) - len(used)

    @property
    def family(self) -> DiffusionModel:
        return FAMILIES[self.spec.family]

    def fill(self, part: str, modules: Mapping[str, nn.Module], at: Place) -> Any:
        """Give a part of that name, empty so far, its weights."""
        if self._weights is None:
            return filled_from_folder(self._path, part, modules[part], at)
        return filled(modules[part], self._weights, self._sources[part], at)


@contextmanager
def _opened(path: Path) -> Generator[_Opened, None, None]:
    if path.is_dir():
        yield _Opened(identify_folder(path), path)
        return
    with open_weights(path) as weights:
        yield _Opened(identify(weights.header), path, weights)


def _require_parts(path: Path, spec: ArchSpec, *, has_other_vae: bool) -> None:
    if "text_encoder" in spec.missing:
        raise CheckpointError(
            f"{path.name} holds no text encoder, so prompts cannot be read.",
            "Choose a complete checkpoint.",
            path=str(path),
        )
    if "vae" in spec.missing and not has_other_vae:
        raise CheckpointError(
            f"{path.name} holds no VAE.",
            "Choose a VAE file for it (put one into models/VAE), or a complete checkpoint.",
            path=str(path),
        )


def alphas_cumprod(*, is_zero_terminal: bool = False) -> torch.Tensor:
    """The noise schedule of all families here: products of 1 − beta.

    Returns:
        (1000,) float32, falling.
    """
    plain = stable_diffusion_alphas_cumprod()
    return zero_terminal_snr(plain) if is_zero_terminal else plain


def asked_prediction(unet: UNet2DConditionModel, at: Place) -> str:
    """Which prediction a network was trained for, found by asking it.

    At the last timestep a network that predicts noise answers with about its own input; one that
    predicts v answers with the opposite of the picture it sees in it.

    Source:
        The rule of A1111 for SD 2.x files: input and text all 0.5, 8×8 latents, text of two
        tokens; v when the answer lies on the average more than 1 below the input.
    """
    inputs = torch.full((1, 4, 8, 8), 0.5, device=at.device, dtype=at.dtype)
    text = torch.full((1, 2, unet.config["cross_attention_dim"]), 0.5).to(inputs)
    timestep = torch.tensor([PROBED_TIMESTEP], device=at.device)
    with torch.inference_mode():
        (answer,) = unet(inputs, timestep, encoder_hidden_states=text, return_dict=False)
    return "v_prediction" if float((answer - inputs).float().mean()) < SAYS_V else "epsilon"


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
    return load_part(checkpoint, "vae", device=device, dtype=dtype)


def load_part(
    checkpoint: Path,
    part: str,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Any:
    """Load one network of a checkpoint file or diffusers folder, an ordinary module.

    Args:
        part: As ``LoadedModel.parts`` names it.
    Raises:
        CheckpointError: As ``load_checkpoint``.
    """
    with _opened(checkpoint) as opened:
        _require_parts(checkpoint, opened.spec, has_other_vae=part != "vae")
        modules = empty_parts(opened.spec)
        return opened.fill(part, modules, Place(torch.device(device), dtype))
