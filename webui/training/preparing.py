"""From options to a LoRA that is ready to be trained."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from webui.checkpoints.weights import open_weights
from webui.errors import ParamsError
from webui.params.training import TrainingOptions
from webui.training.adapters import Dropouts
from webui.training.base import Base
from webui.training.learning import seed_of
from webui.training.lycoris_layers import LycorisAdapter
from webui.training.network import TEXT, UNET, LoraNetwork, Wanted, wanted_layers
from webui.training.network_args import BlockPlan, NetworkArgs, read_network_args

DEFAULT_RATE: Final = 2e-6
"""kohya's, where no rate is given at all."""
INTO_LAYERS: Final = ("mlp.fc2", "ff.net.2")
"""Layers whose inputs LyCORIS' preset ia3 scales, not what they give."""


def make_network(
    options: TrainingOptions, base: Base, seed: int
) -> tuple[LoraNetwork, BlockPlan, NetworkArgs]:
    """Adapters for every layer that is to be trained, not yet put on.

    Raises:
        ParamsError: ``network_args`` cannot be read, or nothing is left to train.
    """
    args = read_network_args(options)
    blocks = BlockPlan(args, base.family)
    parts = parts_of(options)
    targets = base.targets(has_unet=UNET in parts, has_text=TEXT in parts)
    sizes = weights_sizes(options)
    wanted = wanted_layers(targets, args, blocks)
    if sizes is not None:
        wanted = [
            replace(one, rank=sizes[one.name][0], alpha=sizes[one.name][1])
            if one.name in sizes
            else one
            for one in wanted
        ]
    torch.manual_seed(seed_of(seed, "network"))
    dropouts = Dropouts(options.network_dropout or 0.0, args.rank_dropout, args.module_dropout)
    network = LoraNetwork(wanted, dropouts, _lycoris(args) if args.algo else None)
    network.to(base.device, torch.bfloat16 if options.full_bf16 else torch.float32)
    return network, blocks, args


def _lycoris(args: NetworkArgs) -> Callable[[Wanted], LycorisAdapter]:
    def made(one: Wanted) -> LycorisAdapter:
        is_on_input = args.preset == args.algo == "ia3" and one.path.endswith(INTO_LAYERS)
        more = {**(args.more or {}), **({"train_on_input": True} if is_on_input else {})}
        return LycorisAdapter(one.name, one.layer, args.algo, one.rank, one.alpha, more)

    return made


def weights_sizes(options: TrainingOptions) -> dict[str, tuple[int, float]] | None:
    """Rank and alpha of every layer of ``network_weights``, with ``dim_from_weights``."""
    if not (options.network_weights and options.dim_from_weights):
        return None
    tensors = read_tensors(Path(options.network_weights))
    found: dict[str, tuple[int, float]] = {}
    for name, tensor in tensors.items():
        if name.endswith(".lora_down.weight"):
            layer = name.removesuffix(".lora_down.weight")
            alpha = tensors.get(f"{layer}.alpha")
            rank = tensor.shape[0]
            found[layer] = (rank, float(alpha) if alpha is not None else float(rank))
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, float32.

    Raises:
        CheckpointError: It cannot be read.
    """
    with open_weights(path) as weights:
        return {name: weights.read(name).float() for name in weights.header.tensors}


def begin_with(network: LoraNetwork, options: TrainingOptions, warn: Callable[[str], None]) -> None:
    """Take the first values from ``network_weights``, if there are any.

    Raises:
        ParamsError: The file has another rank.
    """
    if not options.network_weights:
        return
    tensors = read_tensors(Path(options.network_weights))
    try:
        missing, foreign = network.load_tensors(tensors)
    except ValueError as err:
        found = tensors[f"{err}.lora_down.weight"].shape[0]
        wanted = next(a.rank for name, a in network.named_adapters() if name == str(err))
        raise other_rank(found, wanted) from err
    if missing or foreign:
        warn(
            f"network_weights: {len(missing)} layers of this training were not in the file, and "
            f"{len(foreign)} of its tensors were not used"
            + (f" ({', '.join(foreign[:3])} …)." if foreign else ".")
        )


def other_rank(found: int, wanted: int) -> ParamsError:
    """The error about a LoRA to begin with that does not fit."""
    return ParamsError(
        f"network_weights: rank {found} in the file, {wanted} here.",
        'Tick "take the rank from the file" (dim_from_weights).',
        field="network_weights",
    )


def parts_of(options: TrainingOptions) -> set[str]:
    """``unet`` and ``text``, whichever get layers in the file."""
    left_out = {UNET} if options.network_train_text_encoder_only else set[str]()
    left_out |= {TEXT} if options.network_train_unet_only else set()
    return {UNET, TEXT} - left_out


def chosen_rates(options: TrainingOptions, parts: Collection[str]) -> dict[str, float]:
    """Part → learning rate."""
    usual = DEFAULT_RATE if options.learning_rate is None else options.learning_rate
    text = options.text_encoder_lr[0] if options.text_encoder_lr else usual
    rates = {TEXT: text, UNET: usual if options.unet_lr is None else options.unet_lr}
    return {part: rate for part, rate in rates.items() if part in parts}
