"""Make torch usable and quick to load; call ``prepare_torch`` first in every process that uses it.

Three things go wrong without it. A torchvision built for CUDA beside a CPU torch (what PyPI's
plain ``pip install`` gives) fails on import and takes transformers and diffusers down with it.
Optional packages that only happen to be installed (scipy, torchvision, accelerate …) are imported
by transformers and diffusers for features we do not use, seconds of CPU before the first picture.
And both libraries may ask a model hub for files. Facts: platform notes of November 2026.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

logger = logging.getLogger(__name__)

UNNEEDED_PACKAGES: Final = (
    "torchvision",
    "scipy",
    "sklearn",
    "accelerate",
    "peft",
    "kernels",
    "bitsandbytes",
    "torchao",
    "xformers",
    "onnxruntime",
    "flax",
    "jax",
    "tensorflow",
)
"""Optional for transformers and diffusers; none is needed by the three networks we use."""

_SHIM_OPERATORS: Final = ("nms", "qnms")
_KEPT_ALIVE: Final[list[Any]] = []
"""torch.library registrations vanish with their Library object, so it must live on."""
_MEMORY_MESSAGES: Final = ("allocate memory", "not enough memory", "out of memory", "alloc_failed")
"""torch's CPU allocator raises a plain RuntimeError; so do drivers that lost an allocation."""


def prepare_torch(threads: int | None = None) -> None:
    """Make this process ready for torch work. Calling it again changes only the thread count.

    Takes about as long as the imports it does: torch, then the three network classes.

    Args:
        threads: CPU threads for one operation, ≥ 1; None leaves torch's own choice.
    """
    forbid_networking()
    quiet_libraries()
    mend_torchvision()
    import torch

    if threads is not None:
        torch.set_num_threads(max(1, threads))
    preload_networks()


def forbid_networking() -> None:
    """Tell every hub client that this process stays offline. Own settings of a person win."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("DISABLE_TELEMETRY", "YES")


def quiet_libraries() -> None:
    """Keep advice meant for developers out of a person's log; real errors still show."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for category in (FutureWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=category, module=r"(transformers|diffusers)\b")


def mend_torchvision() -> bool:
    """Give a torchvision whose compiled part does not load the two operators it insists on.

    Its Python part registers fake kernels for ``nms`` and ``qnms`` as soon as it is imported, and
    that fails when the compiled part did not declare them. ``nms`` gets a plain torch kernel;
    ``qnms`` (quantised) stays without one.

    Returns:
        True if the operators were declared now; False when nothing was needed.
    """
    if _KEPT_ALIVE or "torchvision" in sys.modules:
        return False
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    import torch

    if _compiled_part_loads(Path(spec.origin).parent):
        return False
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in _SHIM_OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _non_maximum_suppression, "CompositeExplicitAutograd")
    _KEPT_ALIVE.append(library)
    return True


def _compiled_part_loads(folder: Path) -> bool:
    import torch

    candidates = [p for p in folder.glob("_C*") if p.suffix in (".so", ".pyd", ".dylib")]
    for file in candidates:
        try:
            torch.ops.load_library(str(file))
        except (OSError, RuntimeError) as err:
            logger.debug("torchvision's compiled part does not load: %s", err)
        else:
            return True
    return False


def _non_maximum_suppression(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """Keep the best of overlapping boxes.

    Args:
        boxes: (N, 4) float, x1 y1 x2 y2.
        scores: (N,) float.
        iou_threshold: 0–1; a box overlapping a better one by more is dropped.
    Returns:
        (K,) int64 indices of the kept boxes, best first.
    """
    import torch

    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])  # (N,)
    left = scores.argsort(descending=True, stable=True)
    kept = []
    while left.numel():
        best, left = left[0], left[1:]
        kept.append(best)
        corner = torch.maximum(boxes[best, :2], boxes[left, :2])
        size = (torch.minimum(boxes[best, 2:], boxes[left, 2:]) - corner).clamp(min=0)
        shared = size[:, 0] * size[:, 1]  # (left,)
        overlap = shared / (areas[best] + areas[left] - shared)
        left = left[~(overlap > iou_threshold)]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.int64, device=boxes.device)


def preload_networks() -> None:
    """Import the network classes without the optional packages they would drag in.

    Measured on a quiet machine: 5.0 s of CPU beside torch's own 1.7 s become 2.8 s. A package
    that is already imported stays, and all of them can be imported normally afterwards.
    """
    with hidden_packages(UNNEEDED_PACKAGES):
        import transformers.models.clip.modeling_clip  # noqa: F401, I001
        import diffusers.models.unets.unet_2d_condition
        import diffusers.models.autoencoders.autoencoder_kl  # noqa: F401


@contextlib.contextmanager
def hidden_packages(names: tuple[str, ...]) -> Iterator[None]:
    """Make packages that are not imported yet look absent, for this process, inside the block.

    Other threads are affected too, so this belongs at the start of a process.
    """
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    hidden = [name for name in names if name not in modules]
    for name in hidden:
        modules[name] = None
    try:
        yield
    finally:
        for name in hidden:
            if modules.get(name, ...) is None:
                del modules[name]


def is_out_of_memory(err: BaseException) -> bool:
    """Whether an error means that memory ran out, on the device or in the machine."""
    import torch

    if isinstance(err, (torch.OutOfMemoryError, MemoryError)):
        return True
    told = str(err).lower()
    return isinstance(err, RuntimeError) and any(text in told for text in _MEMORY_MESSAGES)
