"""Which layers are trained, under which names, with which rank and rate."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from webui.networks.lora import kohya
from webui.networks.lora.names import original_unet_names, plain
from webui.training.adapters import Adapter, Dropouts
from webui.training.lycoris_layers import LycorisAdapter
from webui.training.network_args import PRESETS, BlockPlan, NetworkArgs, Region

TEXT: Final = "text"
UNET: Final = "unet"


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
        original: dict[str, str] = {}
        if is_unet and blocks:
            original = original_unet_names(path for path, _ in target.network.named_modules())
        for one in _layers(target, args):
            block = blocks.of(original.get(one.path, "")) if is_unet and blocks else None
            rank, alpha = _size(one.layer, args, blocks, block)
            if rank:
                found.append(Wanted(one.name, target.part, one.path, one.layer, rank, alpha, block))
    return found


def _layers(target: Target, args: NetworkArgs) -> Iterator[kohya.Target]:
    region = PRESETS.get(args.preset)
    if region is not None:
        return _of_region(target, region)
    if target.part != UNET:
        return kohya.text_targets(target.network, target.prefix)
    return kohya.unet_targets(
        target.network,
        original_names=target.has_original_names,
        has_convolutions=args.conv_dim is not None or args.conv_block_dims is not None,
    )


def _of_region(target: Target, region: Region) -> Iterator[kohya.Target]:
    """The layers that a preset of LyCORIS trains; its rank decides of kernels."""
    if target.part != UNET:
        wanted, found = region.text, kohya.text_targets(target.network, target.prefix)
    else:
        wanted, found = (
            region.unet,
            kohya.unet_targets(
                target.network, original_names=target.has_original_names, has_convolutions=True
            ),
        )
    if wanted:
        yield from (one for one in found if re.search(wanted, one.path))
    if target.part != UNET or target.has_original_names:
        return  # by the original names none of the others is known
    for path in region.names:
        layer = target.network.get_submodule(path)
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            yield kohya.Target(f"{kohya.UNET_PREFIX}_{plain(path)}", path, layer)


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
        make: Makes the adapter of one layer; None = plain LoRA.
    """

    def __init__(
        self,
        wanted: Sequence[Wanted],
        dropouts: Dropouts,
        make: Callable[[Wanted], LycorisAdapter] | None = None,
    ) -> None:
        super().__init__()
        self.wanted = {one.name: one for one in wanted}

        def plain(one: Wanted) -> Adapter:
            return Adapter(one.layer, one.rank, one.alpha or one.rank, dropouts)

        self.adapters = nn.ModuleDict({one.name: (make or plain)(one) for one in wanted})

    def named_adapters(self) -> Iterator[tuple[str, Adapter | LycorisAdapter]]:
        """Name in the file → adapter."""
        for name, adapter in self.adapters.items():
            assert isinstance(adapter, (Adapter, LycorisAdapter))
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
        return {
            f"{name}.{end}": tensor
            for name, adapter in self.named_adapters()
            for end, tensor in adapter.file_tensors().items()
        }

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> tuple[list[str], list[str]]:
        """Take values from a file's tensors.

        Returns:
            Names of layers that were not in it, and names in it that mean no layer here.
        Raises:
            ValueError: A tensor of a layer has another size; the layer's name is the text.
        """
        layers: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            layer, _, end = name.partition(".")
            layers.setdefault(layer, {})[end] = tensor
        missing: list[str] = []
        for name, adapter in self.named_adapters():
            try:
                if not adapter.load(layers.get(name, {})):
                    missing.append(name)
            except ValueError as err:
                raise ValueError(name) from err
        known = set(self.wanted)
        return missing, sorted(name for name in tensors if name.partition(".")[0] not in known)

    def limit_norms(self, most: float) -> tuple[int, float, float]:
        """Scale down every change whose norm is above a limit.

        Returns:
            How many were, the mean norm and the largest (both after).
        """
        found = [adapter.limit_norm(most) for _, adapter in self.named_adapters()]
        norms = [norm for norm, _ in found]
        return sum(is_scaled for _, is_scaled in found), sum(norms) / len(norms), max(norms)

    def is_finite(self) -> bool:
        """Whether all values are numbers."""
        return all(bool(torch.isfinite(value).all()) for value in self.parameters())

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
                for own, parameter in adapter.named_parameters():
                    is_quicker = ratio != 1.0 and own == "lora_up"
                    label = f"{part}{block}{' plus' if is_quicker else ''}"
                    rate = rates[part] * weight * (ratio if is_quicker else 1.0)
                    group = groups.setdefault(label, {"params": [], "lr": rate, "name": label})
                    group["params"].append(parameter)
        return list(groups.values())
