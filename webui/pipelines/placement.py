"""Where networks are: on the device between their turns, or in main memory (``--medvram``,
``--lowvram``, or because memory is short)."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import torch
from torch import nn

from webui.checkpoints.load import LoadedModel, module_bytes
from webui.checkpoints.memory import Bytes
from webui.errors import CheckpointError
from webui.networks.lora.applying import held_bytes, set_changes
from webui.networks.small_weights import half_bytes

logger = logging.getLogger(__name__)
_WAITS: Final = "_waits_in_main_memory"


class NetworkPart:
    """A network of a loaded model; see ``checkpoints.memory.Part``.

    Args:
        device: Where it calculates.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network = network
        self._device = torch.device(device)

    @property
    def _is_away(self) -> bool:
        return self._device.type != "cpu" and _home(self._network).type == "cpu"

    def bytes(self) -> Bytes:
        """Its weights where they are; what LoRAs replaced, and originals of small weights, are
        kept in main memory."""
        own = module_bytes(self._network)
        held = held_bytes(self._network) + half_bytes(self._network)
        return Bytes(ram=own + held) if self._is_away else Bytes(own, held)

    def wait(self) -> bool:
        """See ``Part``."""
        if self._device.type == "cpu" or self._is_away:
            return False
        self._network.to("cpu")
        return True

    def missing(self) -> int:
        """See ``Part``."""
        if self._device.type == "cpu" or _waits(self._network) or not self._is_away:
            return 0
        return module_bytes(self._network)

    def come(self) -> None:
        """See ``Part``."""
        if self.missing():
            self._network.to(self._device)

    def slim(self) -> bool:
        """Take off what LoRAs changed, where that frees what it replaced; they are put on again
        when the network is used."""
        if not held_bytes(self._network):
            return False
        try:
            set_changes(self._network, ())
        except CheckpointError as err:  # it is lost, which is no matter of whoever needs room
            logger.warning("%s", err)
            return False
        return True


class FilePart:
    """The tensors of a small file, which stay in main memory; see ``checkpoints.memory.Part``."""

    def __init__(self, size: int) -> None:
        self._bytes = Bytes(ram=size)

    def bytes(self) -> Bytes:
        """See ``Part``."""
        return self._bytes

    def wait(self) -> bool:
        """See ``Part``."""
        return False

    def missing(self) -> int:
        """See ``Part``."""
        return 0

    def come(self) -> None:
        """See ``Part``."""

    def slim(self) -> bool:
        """See ``Part``."""
        return False


def put_aside(model: LoadedModel, *, medvram: bool, lowvram: bool) -> None:
    """Move networks to main memory until their turn comes.

    Args:
        medvram: Text encoder and VAE wait outside. lowvram: The U-Net too, so that the device
            never holds more than one network.
    """
    if torch.device(model.device).type == "cpu" or not (medvram or lowvram):
        return
    for name, network in model.parts.items():
        if lowvram or name != "unet":
            put_network_aside(network)


@contextmanager
def on_device(network: nn.Module, device: torch.device) -> Generator[None, None, None]:
    """Bring a network to the device for its turn, and back to where it waited."""
    if torch.device(device).type == "cpu":  # nothing ever waits elsewhere
        yield
        return
    home = _home(network)
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
    for other in model.parts.values():
        if other is not network:
            put_network_aside(other)


def put_network_aside(network: nn.Module) -> None:
    """Move a network to main memory, where it waits for its turns from now on."""
    network.to("cpu")
    network.__dict__[_WAITS] = True


def take_from_aside(network: nn.Module) -> None:
    """It need not wait in main memory any more; it comes with its next turn."""
    network.__dict__.pop(_WAITS, None)


def _waits(network: nn.Module) -> bool:
    return _WAITS in network.__dict__


def _home(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
