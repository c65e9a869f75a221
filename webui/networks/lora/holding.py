"""What becomes of a layer's own weight while a changed one stands in the layer.

It is kept beside it (``KeptLayer``); or, where it can be read again exactly as it was loaded, it is
written over (``LentLayer``), which takes no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from webui.networks.packing import dense_weight, hold_layer, home_of, put_back, write_weight
from webui.networks.small_weights import best_weight, stored_as

_ORIGINALS: Final = "_can_be_read_again"
Adding = Callable[[Tensor], None]
"""Changes a weight, float32, in place."""


class OpenOriginals(Protocol):
    """A file that is open until nobody holds this any more; deleting it does no harm."""

    def read(self, name: str) -> Tensor:
        """A weight as it was loaded, on the CPU, in the file's number format; to be copied before
        the next one is read.

        Raises:
            KeyError: It is none of those that were loaded.
            CheckpointError: It was changed since, or cannot be read.
        """
        ...


class Originals(Protocol):
    """Where the weights of a network can be read again, by their names in its ``state_dict``."""

    def open(self) -> OpenOriginals | None:
        """None when they cannot: the file is gone, or not what it was."""
        ...


def set_originals(network: nn.Module, originals: Originals) -> None:
    """Tell where all weights of a network can be read again as they are now. A layer whose weight
    is found to be another one, because somebody changed it for good, does not make use of it."""
    network.__dict__[_ORIGINALS] = originals


def open_originals(network: nn.Module) -> OpenOriginals | None:
    """What ``set_originals`` was told, open; None where there is none."""
    originals: Originals | None = network.__dict__.get(_ORIGINALS)
    return originals.open() if originals is not None else None


class ChangedLayer(Protocol):
    """A layer that is not what it was.

    Attributes:
        bias: Its own bias, which is always kept.
    """

    @property
    def bias(self) -> nn.Parameter | None: ...

    def change(self, layer: nn.Module, add: Adding) -> None:
        """Put the layer's own weight, changed, into the layer."""
        ...

    def put_back(self, layer: nn.Module) -> None:
        """Give the layer its own weight and bias again, bit for bit, where it is now."""
        ...

    def wait_aside(self, layer: nn.Module) -> None:
        """What the layer does not have now waits in main memory."""
        ...

    def nbytes(self, layer: nn.Module | None = None) -> int:
        """Bytes that are kept; what ``layer`` has too does not count."""
        ...


class KeptLayer:
    """A layer whose own weight is kept untouched; see ``ChangedLayer``."""

    def __init__(self, layer: nn.Module) -> None:
        self._held = hold_layer(layer)

    @property
    def bias(self) -> nn.Parameter | None:
        """See ``ChangedLayer``."""
        return self._held.bias

    def change(self, layer: nn.Module, add: Adding) -> None:
        """See ``ChangedLayer``."""
        own = dense_weight(layer, self._held)
        weight = best_weight(layer, own)
        kept = self._held.weight
        if kept is not None and weight.data_ptr() == kept.data_ptr():
            weight = weight.clone()
        add(weight)
        layer.weight = nn.Parameter(  # type: ignore[assignment]
            stored_as(layer, weight, own.dtype), requires_grad=False
        )

    def put_back(self, layer: nn.Module) -> None:
        """See ``ChangedLayer``."""
        put_back(layer, self._held)

    def wait_aside(self, layer: nn.Module) -> None:
        """See ``ChangedLayer``."""
        self._held.wait_aside(layer)

    def nbytes(self, layer: nn.Module | None = None) -> int:
        """See ``ChangedLayer``."""
        return self._held.nbytes(layer)


class LentLayer:
    """A layer whose weight is written over as long as it is changed; see ``ChangedLayer``.

    Args:
        name: Of its weight. originals: Where that is read again.
    """

    def __init__(self, layer: nn.Module, name: str, originals: OpenOriginals) -> None:
        self.bias: nn.Parameter | None = layer._parameters.get("bias")
        self._name = name
        self._originals = originals
        self._is_changed = False

    def change(self, layer: nn.Module, add: Adding) -> None:
        """See ``ChangedLayer``."""
        self._put_weight_back(layer)
        self._is_changed = True
        with torch.inference_mode():  # it may have been loaded in such a mode
            weight: Tensor = layer.weight.detach()  # type: ignore[operator,assignment]
            wide = weight.to(torch.float32)
            add(wide)
            if wide is not weight:
                weight.copy_(wide)

    def put_back(self, layer: nn.Module) -> None:
        """See ``ChangedLayer``."""
        self._put_weight_back(layer)
        if self.bias is not None or "bias" in layer._parameters:
            if self.bias is not None:
                self.bias.data = self.bias.data.to(home_of(layer))
            layer._parameters["bias"] = self.bias

    def wait_aside(self, layer: nn.Module) -> None:
        """See ``ChangedLayer``. A bias is too small to be worth it."""

    def nbytes(self, layer: nn.Module | None = None) -> int:
        """See ``ChangedLayer``."""
        return 0

    def _put_weight_back(self, layer: nn.Module) -> None:
        if not self._is_changed:
            return
        write_weight(layer, self._originals.read(self._name))
        self._is_changed = False
