"""Which networks wait on the device between their turns (``--medvram``, ``--lowvram``)."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from webui.checkpoints.load import LoadedModel


def put_aside(model: LoadedModel, *, medvram: bool, lowvram: bool) -> None:
    """Move networks to main memory until their turn comes.

    Args:
        medvram: Text encoder and VAE wait outside. lowvram: The U-Net too, so that the device
            never holds more than one network.
    """
    if torch.device(model.device).type == "cpu" or not (medvram or lowvram):
        return
    waiting: list[nn.Module] = [model.text_encoder, model.vae]
    if lowvram:
        waiting.append(model.unet)
    for network in waiting:
        network.to("cpu")


@contextmanager
def on_device(network: nn.Module, device: torch.device) -> Generator[None, None, None]:
    """Bring a network to the device for its turn, and back to where it waited."""
    if torch.device(device).type == "cpu":  # nothing ever waits elsewhere
        yield
        return
    home = next(network.parameters()).device
    if home == device:
        yield
        return
    network.to(device)
    try:
        yield
    finally:
        network.to(home)


def clear_for(model: LoadedModel, network: nn.Module) -> None:
    """Move every other network of a model to main memory, where it waits for its turns from now
    on; nothing moves on the CPU."""
    if torch.device(model.device).type == "cpu":
        return
    networks: tuple[Any, ...] = (model.text_encoder, model.unet, model.vae)
    for other in networks:
        if other is not network:
            other.to("cpu")
