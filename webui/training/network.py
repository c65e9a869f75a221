"""Which layers are trained, under which names, with which rank and rate."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from webui.networks.lora.names import original_unet_names
from webui.training.adapters import Adapter, Dropouts
from webui.training.network_args import BlockPlan, NetworkArgs

TEXT: Final = "text"
UNET: Final = "unet"
_IN_TRANSFORMER: Final = re.compile(r"(^|\.)attentions\.")
_IN_CONVOLUTIONS: Final = re.compile(r"(^|\.)(resnets|downsamplers|upsamplers)\.")
_IN_TEXT: Final = re.compile(r"(^|\.)(self_attn|mlp)\.")


@dataclass(frozen=True)
class Target:
    """A network whose layers are trained.

    Attributes:
        part: ``unet`` or ``text``. prefix: Of the names in the file: ``lora_unet``, ``lora_te`` …
        has_original_names: Layers are named as in the original checkpoints (SDXL).
    """

    part: str
    prefix: str
    network: nn.Module
    has_original_names: bool = False


@dataclass(frozen=True)
class Wanted:
    """One layer to train.

    Attributes:
        name: In the file, without the tensor's part.
        block: Of the U-Net as ``BlockPlan`` counts; None = not in one.
    """

    name: str
    part: str
    path: str
    layer: nn.Linear | nn.Conv2d
    rank: int
    alpha: float
    block: int | None = None


def wanted_layers(
    targets: Sequence[Target], args: NetworkArgs, blocks: BlockPlan | None = None
) -> list[Wanted]:
    """The layers that kohya's LoRA trains, in the order of the networks' modules.

    Args:
        blocks: Ranks for single blocks of the U-Net, if wished.
    """
    found: list[Wanted] = []
    for target in targets:
        is_unet = target.part == UNET
        paths = {path: layer for path, layer in target.network.named_modules() if path}
        original = original_unet_names(paths) if is_unet else {}
        for path, layer in paths.items():
            if not isinstance(layer, (nn.Linear, nn.Conv2d)) or not _is_wanted(path, is_unet, args):
                continue
            block = blocks.of(original.get(path, "")) if is_unet and blocks else None
            rank, alpha = _size(layer, args, blocks, block)
            if rank == 0:
                continue
            named = original[path] if target.has_original_names else path
            if not is_unet:
                named = f"text_model.{path.removeprefix('text_model.')}"
            name = f"{target.prefix}_{named.replace('.', '_')}"
            found.append(Wanted(name, target.part, path, layer, rank, alpha, block))
    return found


def _is_wanted(path: str, is_unet: bool, args: NetworkArgs) -> bool:
    if not is_unet:
        return bool(_IN_TEXT.search(path))
    has_convolutions = args.conv_dim is not None or args.conv_block_dims is not None
    return bool(
        _IN_TRANSFORMER.search(path) or (has_convolutions and _IN_CONVOLUTIONS.search(path))
    )


def _size(
    layer: nn.Linear | nn.Conv2d, args: NetworkArgs, blocks: BlockPlan | None, block: int | None
) -> tuple[int, float]:
    is_kernel = isinstance(layer, nn.Conv2d) and tuple(layer.kernel_size) != (1, 1)
    if blocks is not None and block is not None and blocks.is_left_out(block):
        return 0, 0.0
    if is_kernel:
        if args.conv_block_dims is not None and block is not None:
            alphas = args.conv_block_alphas
            return args.conv_block_dims[block], alphas[block] if alphas else args.conv_alpha
        return args.conv_dim or 0, args.conv_alpha
    if args.block_dims is not None and block is not None:
        alphas = args.block_alphas
        return args.block_dims[block], alphas[block] if alphas else args.alpha
    return args.dim, args.alpha


class LoraNetwork(nn.Module):
    """All adapters of a training.

    Args:
        wanted: See ``wanted_layers``; none of them may carry an adapter already.
    """

    def __init__(self, wanted: Sequence[Wanted], dropouts: Dropouts) -> None:
        super().__init__()
        self.wanted = {one.name: one for one in wanted}
        self.adapters = nn.ModuleDict(
            {
                one.name: Adapter(one.layer, one.rank, one.alpha or one.rank, dropouts)
                for one in wanted
            }
        )

    def named_adapters(self) -> Iterator[tuple[str, Adapter]]:
        """Name in the file → adapter."""
        for name, adapter in self.adapters.items():
            assert isinstance(adapter, Adapter)
            yield name, adapter

    def put_on(self) -> None:
        """The networks work with the changes from now on."""
        for _, adapter in self.named_adapters():
            adapter.put_on()

    def take_off(self) -> None:
        """Give the networks their own layers again."""
        for _, adapter in self.named_adapters():
            adapter.take_off()

    def set_multiplier(self, multiplier: float) -> None:
        """Weight of all changes."""
        for _, adapter in self.named_adapters():
            adapter.multiplier = multiplier

    def tensors(self) -> dict[str, Tensor]:
        """What a file holds, by kohya's names; the parameters themselves, not copies."""
        found: dict[str, Tensor] = {}
        for name, adapter in self.named_adapters():
            found[f"{name}.alpha"] = torch.tensor(float(adapter.alpha))
            found[f"{name}.lora_down.weight"] = adapter.lora_down.detach()
            found[f"{name}.lora_up.weight"] = adapter.lora_up.detach()
        return found

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
        """Take values from a file's tensors.

        Returns:
            Names of layers that were not in it, and names in it that mean no layer here.
        Raises:
            ValueError: A tensor has another shape; its name is the error's text.
        """
        missing: list[str] = []
        known: set[str] = set()
        for name, adapter in self.named_adapters():
            down = tensors.get(f"{name}.lora_down.weight")
            up = tensors.get(f"{name}.lora_up.weight")
            if down is None or up is None:
                missing.append(name)
                continue
            known.update(f"{name}.{end}" for end in ("alpha", "lora_down.weight", "lora_up.weight"))
            for own, stored in ((adapter.lora_down, down), (adapter.lora_up, up)):
                if own.numel() != stored.numel():
                    raise ValueError(name)
                own.copy_(stored.reshape(own.shape))
        return missing, sorted(set(tensors) - known)

    @torch.no_grad()
    def limit_norms(self, most: float) -> tuple[int, float, float]:
        """Scale down every change whose norm is above a limit.

        Returns:
            How many were, the mean norm and the largest (both after).
        """
        norms: list[Tensor] = []
        scaled = 0
        for _, adapter in self.named_adapters():
            norm = adapter.delta().norm().clamp(min=1e-12)
            if norm > most:
                factor = (most / norm).sqrt()
                adapter.lora_up.mul_(factor)
                adapter.lora_down.mul_(factor)
                scaled += 1
                norm = norm.new_tensor(most)
            norms.append(norm)
        together = torch.stack(norms)
        return scaled, float(together.mean()), float(together.max())

    def parts(self) -> set[str]:
        """``unet`` and ``text``, whichever have layers here."""
        return {one.part for one in self.wanted.values()}

    def groups(
        self, rates: Mapping[str, float], args: NetworkArgs, blocks: BlockPlan | None
    ) -> list[dict[str, Any]]:
        """Parameters for an optimiser, text first; parts whose rate is 0 are left out.

        Args:
            rates: Part → learning rate.
        Returns:
            Groups with ``params``, ``lr`` and ``name``.
        """
        groups: dict[str, dict[str, Any]] = {}
        for part in (TEXT, UNET):
            for name, adapter in self.named_adapters():
                one = self.wanted[name]
                if one.part != part or not rates.get(part):
                    continue
                weight = blocks.rate(one.block) if blocks and one.block is not None else 1.0
                ratio = args.up_ratio(part)
                block = f" block {one.block}" if weight != 1.0 else ""
                for parameter, factor, end in (
                    (adapter.lora_down, 1.0, ""),
                    (adapter.lora_up, ratio, " plus" if ratio != 1.0 else ""),
                ):
                    label = f"{part}{block}{end}"
                    rate = rates[part] * weight * factor
                    group = groups.setdefault(label, {"params": [], "lr": rate, "name": label})
                    group["params"].append(parameter)
        return list(groups.values())
