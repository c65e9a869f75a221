"""Layers of the package lycoris-lora (LoHa, LoKr, (IA)³ …) in the place of our plain LoRA.

The package is an extra: nothing of it is imported before somebody asks for one of its kinds.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor, nn

from webui.errors import ParamsError, TrainingError

PACKAGE: Final = "lycoris-lora"


class LycorisAdapter(nn.Module):
    """One layer of the package; does what ``adapters.Adapter`` does.

    Args:
        layer: Linear or Conv2d, frozen.
        algo: ``loha``, ``lokr`` … rank, alpha: As for a LoRA.
        more: The package's own arguments.
    Raises:
        TrainingError: The package is not installed.
        ParamsError: It cannot make such a layer of this size.
    """

    def __init__(
        self,
        name: str,
        layer: nn.Linear | nn.Conv2d,
        algo: str,
        rank: int,
        alpha: float,
        more: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.rank, self.alpha = rank, alpha
        kind = lycoris_kinds()[algo]
        try:
            self.change: Any = kind(name, layer, 1.0, rank, alpha, **more)
        except (AssertionError, ValueError, TypeError, NotImplementedError) as err:
            raise ParamsError(
                f"network_args: algo={algo} cannot be made for {name} "
                f"({', '.join(map(str, layer.weight.shape))}) with rank {rank}: {err}",
                "Choose another rank (network_dim, conv_dim), factor or block_size.",
                field="network_args",
            ) from err

    @property
    def multiplier(self) -> float:
        """Weight of the change."""
        return float(self.change.multiplier)

    @multiplier.setter
    def multiplier(self, value: float) -> None:
        self.change.multiplier = value

    def put_on(self) -> None:
        """See ``Adapter``."""
        self.change.apply_to()

    def take_off(self) -> None:
        """See ``Adapter``; also what the package leaves on a layer goes."""
        self.change.restore()
        layer = self.change.org_module[0]
        for name in ("forward", "_lycoris_original_forward", "_lycoris_wrappers"):
            layer.__dict__.pop(name, None)

    def file_tensors(self) -> dict[str, Tensor]:
        """See ``Adapter``."""
        return {name: tensor.detach() for name, tensor in self.change.state_dict().items()}

    def load(self, stored: Mapping[str, Tensor]) -> bool:
        """See ``Adapter``."""
        own = self.change.state_dict()
        if not own.keys() <= stored.keys():
            return False
        if any(own[name].numel() != stored[name].numel() for name in own):
            raise ValueError("size")
        shaped = {name: stored[name].reshape(own[name].shape) for name in own}
        self.change.load_state_dict(shaped)
        return True

    def limit_norm(self, most: float) -> tuple[float, bool]:
        """See ``Adapter``."""
        scaled, norm = self.change.apply_max_norm(most)
        return (0.0 if norm is None else float(norm)), bool(scaled)


def lycoris_kinds() -> Mapping[str, Any]:
    """The package's classes by ``algo``.

    Raises:
        TrainingError: It is not installed, or lacks something itself.
    """
    try:
        return importlib.import_module("lycoris.wrapper").network_module_dict
    except ImportError as err:
        is_there = (err.name or "").partition(".")[0] != "lycoris"
        found = f"cannot be loaded: {err}" if is_there else "is not installed"
        raise TrainingError(
            f"network_module lycoris.kohya needs the package {PACKAGE}, which " + found + ".",
            f"pip install {PACKAGE}, or choose networks.lora.",
        ) from err
