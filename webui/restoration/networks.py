"""Networks of upscalers and face restorers: from a weights file to something that runs.

Which network a file holds and how it is built is spandrel's knowledge; the file itself is opened
by ``checkpoints.weights``, which runs nothing that is in it.
"""

from __future__ import annotations

import importlib.util
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import Tensor

from webui.checkpoints.memory import Bytes, give_back_memory
from webui.checkpoints.weights import open_weights
from webui.errors import CheckpointError, UnknownArchitectureError
from webui.torch_setup import mend_torchvision

logger = logging.getLogger(__name__)
T = TypeVar("T")
KEPT_NETWORKS: Final = 4
CONVOLUTIONAL: Final = frozenset({"ESRGAN", "Compact"})
"""Networks of plain convolutions, which run faster with channels last (packed weights gain
nothing at the size of a tile). Others reshape their maps with ``view``, which that layout does
not allow (GFPGAN), or have weights of five dimensions."""
EXTRA_ARCHITECTURES: Final = "spandrel_extra_arches"
"""Package with networks whose own licences are non-commercial, CodeFormer among them: opt-in."""
_PREFIXES: Final = ("module.", "netG.")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a weights file, in float32 where they are floats.

    Raises:
        CheckpointError: Missing, damaged or foreign file.
        UnsafeCheckpointError: A pickle that asks for more than tensors.
    """
    with open_weights(path) as weights:
        tensors = {name: _wide(weights.read(name)) for name in weights.header.tensors}
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): t for name, t in tensors.items()}
    return tensors


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def mixed_tensors(path: Path, other: Path, share: float) -> dict[str, Tensor]:
    """Two files of one network mixed weight by weight: path·share + other·(1−share).

    Raises:
        CheckpointError: As ``read_tensors``, or the files hold different networks.
    Source:
        Deep network interpolation, Wang et al. 2019, arXiv 1811.10515.
    """
    first, second = read_tensors(path), read_tensors(other)
    if {n: t.shape for n, t in first.items()} != {n: t.shape for n, t in second.items()}:
        raise CheckpointError(
            f"{path.name} and {other.name} were to be mixed, but hold different networks.",
            "Use the two files of realesr-general-x4v3, with and without wdn.",
            path=str(other),
        )
    return {n: torch.lerp(second[n], t, share) if t.is_floating_point() else t
            for n, t in first.items()}  # fmt: skip


def load_network(path: Path, tensors: dict[str, Tensor], device: torch.device) -> Any:
    """Build the network that fits a file's tensors.

    Args:
        path: For messages. tensors: From ``read_tensors``.
        device: Where it shall run.
    Returns:
        spandrel's descriptor: ``model``, ``scale``, ``purpose``, ``supports_half`` and more;
        float32, in evaluation mode.
    Raises:
        UnknownArchitectureError: No network known here fits, or it needs an optional package.
        CheckpointError: Some weights are missing or have the wrong shape.
    """
    mend_torchvision()
    from spandrel import ModelLoader, UnsupportedModelError

    try:
        network = ModelLoader(device, registry=_registry()).load_from_state_dict(tensors)
    except UnsupportedModelError as err:
        raise _unknown(path, tensors) from err
    except (RuntimeError, KeyError, ValueError, AssertionError) as err:
        detail = str(err).strip().splitlines()
        raise CheckpointError(
            f"{path.name} looks like a known network, but does not fit it: "
            f"{detail[-1].strip() if detail else type(err).__name__}.",
            "The file may be damaged or cut down: download it again.",
            path=str(path),
        ) from err
    network.eval()
    for parameter in network.model.parameters():
        parameter.requires_grad_(False)
    if device.type == "cpu" and network.architecture.id in CONVOLUTIONAL:
        model: torch.nn.Module = network.model
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (stub)
    return network


def _registry() -> Any:
    """spandrel's own networks, and the opt-in ones where their package is installed."""
    from spandrel import MAIN_REGISTRY, ArchRegistry

    registry = ArchRegistry()
    registry.add(*MAIN_REGISTRY.architectures(order="detection"))
    if importlib.util.find_spec(EXTRA_ARCHITECTURES) is not None:
        from spandrel_extra_arches import EXTRA_REGISTRY  # pyright: ignore[reportMissingImports]

        registry.add(*EXTRA_REGISTRY.architectures(order="detection"))
    return registry


def _unknown(path: Path, tensors: dict[str, Tensor]) -> UnknownArchitectureError:
    if any(name.startswith("fuse_convs_dict.") for name in tensors):
        return UnknownArchitectureError(
            f"{path.name} holds CodeFormer, whose network is not part of this program: its "
            "licence forbids commercial use.",
            f"If that suits you: pip install {EXTRA_ARCHITECTURES}==0.2.0 (S-Lab License 1.0), "
            "then start again. Or choose GFPGAN.",
            path=str(path),
        )
    return UnknownArchitectureError(
        f"{path.name} holds {len(tensors)} tensors of no upscaler or face restorer known here.",
        "Choose another file. ESRGAN, Real-ESRGAN, SwinIR, DAT, HAT, GFPGAN and their kin work.",
        path=str(path),
    )


class Shelf:
    """Loaded networks by key, the most recently used few. For one thread. For whoever owns the
    memory it is one ``checkpoints.memory.Part``, which gets smaller network by network.

    Args:
        device: Where networks run.
        has_half: Half precision may be used: float16 on a GPU, bfloat16 on a CPU.
    """

    def __init__(self, device: torch.device, *, has_half: bool = False) -> None:
        self.device = device
        self.has_half = has_half
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made for a key, or made now.

        Raises:
            Whatever ``make`` raises.
        """
        if key not in self._kept:
            while len(self._kept) >= KEPT_NETWORKS:
                self._kept.popitem(last=False)
            self._kept[key] = make()
        self._kept.move_to_end(key)
        return self._kept[key]

    def bytes(self) -> Bytes:
        """See ``Part``. What is no network of torch is small and does not count."""
        kept = [getattr(value, "model", None) for value in self._kept.values()]
        networks = [network for network in kept if isinstance(network, torch.nn.Module)]
        tensors = [tensor for network in networks for tensor in network.parameters()]
        return Bytes(device=sum(t.numel() * t.element_size() for t in tensors))

    def slim(self) -> bool:
        """Let go of the network that was used longest ago."""
        if not self._kept:
            return False
        self._kept.popitem(last=False)
        give_back_memory()
        return True

    def wait(self) -> bool:
        """See ``Part``. Networks do not wait beside the device, they go."""
        return False

    def missing(self) -> int:
        """See ``Part``."""
        return 0

    def come(self) -> None:
        """See ``Part``."""

    def clear(self) -> None:
        """Let go of every network."""
        self._kept.clear()
        give_back_memory()
