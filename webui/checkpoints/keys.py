"""Quick questions about the names of a file's tensors, and what a rule over them is; no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from webui.checkpoints.headers import Header, TensorInfo

UNET: Final = "model.diffusion_model."
VAE: Final = "first_stage_model."
FIRST_LAYER: Final = f"{UNET}input_blocks.0.0.weight"
"""Its second axis shows what the U-Net is shown beside the noise."""


class Keys:
    """Quick questions about a file's tensor names."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.tensors = header.tensors
        self._text = "\n" + "\n".join(header.tensors) + "\n"

    def has(self, *names: str) -> bool:
        """All these tensors are there."""
        return all(name in self.tensors for name in names)

    def begins(self, *prefixes: str) -> bool:
        """For each prefix some tensor's name begins with it."""
        return all(f"\n{prefix}" in self._text for prefix in prefixes)

    def contains(self, *parts: str) -> bool:
        """Each part occurs somewhere in some name."""
        return all(part in self._text for part in parts)

    def ends(self, *endings: str) -> bool:
        """For each ending some tensor's name ends with it."""
        return all(f"{ending}\n" in self._text for ending in endings)

    def size(self, name: str, axis: int) -> int:
        """Length of one axis of a tensor, 0 when there is no such tensor or axis."""
        info = self.tensors.get(name)
        return info.shape[axis] if info is not None and axis < len(info.shape) else 0

    def under(self, prefix: str) -> dict[str, TensorInfo]:
        """The tensors below a prefix, which is cut off."""
        cut = len(prefix)
        return {n[cut:]: info for n, info in self.tensors.items() if n.startswith(prefix)}

    def any_size(self, ending: str, axis: int) -> int:
        """``size`` of the first tensor whose name ends so."""
        for name in self.tensors:
            if name.endswith(ending):
                return self.size(name, axis)
        return 0

    @property
    def context_dim(self) -> int:
        """Width of the text the U-Net listens to, 0 when it has no cross-attention."""
        return self.any_size("attn2.to_k.weight", 1)

    @property
    def is_unet(self) -> bool:
        """A U-Net of Stable Diffusion's kind is in it, under its original names."""
        return self.has(FIRST_LAYER, f"{UNET}out.2.weight")

    @property
    def takes_vector(self) -> bool:
        """Its U-Net is told a vector beside the text (SDXL's sizes, classes …)."""
        return self.begins(f"{UNET}label_emb.")


@dataclass(frozen=True)
class Rule:
    """One kind of file and how to tell it."""

    kind: str
    family: str
    title: str
    matches: Callable[[Keys], bool]
