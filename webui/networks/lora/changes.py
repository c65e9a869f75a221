"""What each format of the LoRA family does to one layer's weight.

Every class is one row of a file, its tensors as stored; ``delta`` is the full change at weight 1,
in float32, in the shape of the layer. W is the layer's weight, o its outputs, i its inputs, k its
kernel, r a rank.

Source: lora-training.md, section 4.6; the papers are named at the classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor


class Change(Protocol):
    """One layer's change."""

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether a layer whose weight has this shape can be changed by it."""
        ...

    def delta(self, weight: Tensor, rank_limit: int | None = None) -> Tensor:
        """W' − W at weight 1.

        Args:
            weight: W, float32, of a shape that ``fits``; not changed.
            rank_limit: Only so many ranks of a plain LoRA are used; None = all.
        Returns:
            float32, W's shape and device.
        """
        ...

    def add_to(self, weight: Tensor, amount: float, rank_limit: int | None = None) -> None:
        """Add so many times the change to W, in place; see ``delta``."""
        ...


class _AddedWhole:
    """Changes that are worked out whole before they are added."""

    def delta(self, weight: Tensor, rank_limit: int | None = None) -> Tensor:
        """See ``Change``."""
        raise NotImplementedError

    def add_to(self, weight: Tensor, amount: float, rank_limit: int | None = None) -> None:
        """See ``Change``."""
        weight.add_(self.delta(weight, rank_limit), alpha=amount)


def _rows(shape: Sequence[int]) -> tuple[int, int]:
    """A weight's shape as a matrix: outputs, everything else."""
    return shape[0], math.prod(shape[1:])


def _on(weight: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(t.to(weight.device, torch.float32) for t in tensors)


@dataclass(frozen=True)
class LowRank(_AddedWhole):
    """LoRA and LoCon: up · down; with ``mid``, Tucker's form for kernels.

    Attributes:
        up: (o, r) or (o, r, 1, 1). down: (r, i) or (r, i, k, k); with ``mid`` (r, i, 1, 1).
        mid: (r, r, k, k) or None.
        factor: alpha / r.
    Source:
        Hu et al. 2021, arXiv 2106.09685; LyCORIS' LoCon.
    """

    up: Tensor
    down: Tensor
    mid: Tensor | None
    factor: float

    def fits(self, shape: Sequence[int]) -> bool:
        """See ``Change``."""
        kernel = math.prod(self.mid.shape[2:]) if self.mid is not None else 1
        columns = math.prod(self.down.shape[1:]) * kernel
        ranks = (self.down.shape[0], math.prod(self.up.shape[1:]))
        wanted = ranks if self.mid is None else tuple(self.mid.shape[1::-1])
        return ranks == wanted and ranks[0] == ranks[1] and _rows(shape) == (
            self.up.shape[0], columns,
        )  # fmt: skip

    def delta(self, weight: Tensor, rank_limit: int | None = None) -> Tensor:
        """See ``Change``."""
        up, down = _on(weight, self.up.flatten(1), self.down.flatten(1))  # (o, r), (r, i·k·k)
        up = up * self.factor  # the smallest place to multiply
        if self.mid is not None:
            (mid,) = _on(weight, self.mid)
            change = torch.einsum("m n k l, o m, n i -> o i k l", mid, up, down)
        else:
            change = up[:, :rank_limit] @ down[:rank_limit]  # (o, i·k·k)
        return change.reshape(weight.shape)

    def add_to(self, weight: Tensor, amount: float, rank_limit: int | None = None) -> None:
        """See ``Change``. The product is never there by itself, which takes half the time."""
        if self.mid is not None or not weight.is_contiguous():  # no matrix without a copy
            super().add_to(weight, amount, rank_limit)
            return
        up, down = _on(weight, self.up.flatten(1), self.down.flatten(1))
        up, down, alpha = up[:, :rank_limit], down[:rank_limit], amount * self.factor
        weight.view(weight.shape[0], -1).addmm_(up, down, alpha=alpha)


@dataclass(frozen=True)
class Hadamard(_AddedWhole):
    """LoHa: the product, element by element, of two low-rank matrices.

    Attributes:
        w1_a, w2_a: (o, r); in Tucker's form (r, o). w1_b, w2_b: (r, i·k·k); there (r, i).
        t1, t2: (r, r, k, k), both or neither.
        factor: alpha / r.
    Source:
        Hyeon-Woo et al. 2021 (FedPara), arXiv 2108.06098; LyCORIS.
    """

    w1_a: Tensor
    w1_b: Tensor
    w2_a: Tensor
    w2_b: Tensor
    t1: Tensor | None
    t2: Tensor | None
    factor: float

    def fits(self, shape: Sequence[int]) -> bool:
        """See ``Change``."""
        halves = ((self.w1_a, self.w1_b, self.t1), (self.w2_a, self.w2_b, self.t2))
        return all(_product_shape(a, b, t) == _rows(shape) for a, b, t in halves)

    def delta(self, weight: Tensor, rank_limit: int | None = None) -> Tensor:
        """See ``Change``."""
        first = _product(weight, self.w1_a, self.w1_b, self.t1)
        second = _product(weight, self.w2_a, self.w2_b, self.t2)
        return (first * second).reshape(weight.shape) * self.factor


def _product_shape(a: Tensor, b: Tensor, core: Tensor | None) -> tuple[int, int]:
    """Rows and columns that ``_product`` makes; (0, 0) when the parts do not belong together."""
    if core is None:
        return (a.shape[0], b.shape[1]) if a.shape[1] == b.shape[0] else (0, 0)
    if core.shape[:2] != (a.shape[0], b.shape[0]):
        return (0, 0)
    return a.shape[1], b.shape[1] * math.prod(core.shape[2:])


def _product(weight: Tensor, a: Tensor, b: Tensor, core: Tensor | None) -> Tensor:
    """a · b, or Tucker's product of a kernel core (r, r, k, k) with a (r, o) and b (r, i)."""
    if core is None:
        left, right = _on(weight, a, b)
        return left @ right
    left, right, middle = _on(weight, a, b, core)
    return torch.einsum("m n k l, m o, n i -> o i k l", middle, left, right)


@dataclass(frozen=True)
class Kronecker(_AddedWhole):
    """LoKr: the Kronecker product of two blocks, each whole or of low rank.

    Attributes:
        w1: (o1, i1), or None with w1_a (o1, r) and w1_b (r, i1).
        w2: (o2, i2) or (o2, i2, k, k), or None with w2_a (o2, r) and w2_b (r, i2·k·k), or with
            t2 (r, r, k, k), w2_a (r, o2) and w2_b (r, i2).
        factor: alpha / r; 1 when both blocks are whole.
    Source:
        LyCORIS; Edalati et al. 2022 (KronA), arXiv 2212.10650.
    """

    w1: Tensor | None
    w1_a: Tensor | None
    w1_b: Tensor | None
    w2: Tensor | None
    w2_a: Tensor | None
    w2_b: Tensor | None
    t2: Tensor | None
    factor: float

    def fits(self, shape: Sequence[int]) -> bool:
        """See ``Change``."""
        first = self._block_shape(self.w1, self.w1_a, self.w1_b, None)
        second = self._block_shape(self.w2, self.w2_a, self.w2_b, self.t2)
        return (first[0] * second[0], first[1] * second[1]) == _rows(shape)

    def delta(self, weight: Tensor, rank_limit: int | None = None) -> Tensor:
        """See ``Change``."""
        first = self._block(weight, self.w1, self.w1_a, self.w1_b, None).flatten(1)
        second = self._block(weight, self.w2, self.w2_a, self.w2_b, self.t2).flatten(1)
        # columns of the second block are (input, kernel), so the flat product is in W's order
        product = torch.kron(first, second.contiguous())  # (o1·o2, i1·i2·k·k)
        return product.reshape(weight.shape) * self.factor

    @staticmethod
    def _block_shape(
        whole: Tensor | None, a: Tensor | None, b: Tensor | None, core: Tensor | None
    ) -> tuple[int, int]:
        if whole is not None:
            return _rows(whole.shape)
        assert a is not None and b is not None
        return _product_shape(a, b, core)

    @staticmethod
    def _block(
        weight: Tensor, whole: Tensor | None, a: Tensor | None, b: Tensor | None,
        core: Tensor | None,
    ) -> Tensor:  # fmt: skip
        if whole is not None:
            return _on(weight, whole)[0]
        assert a is not None and b is not None
        return _product(weight, a, b, core)


@dataclass(frozen=True)
class Scaling(_AddedWhole):
    """(IA)³: a factor for each output, or for each input.

    Attributes:
        scale: As many numbers as outputs (inputs).
        on_input: Which of the two.
    Source:
        Liu et al. 2022, arXiv 2205.05638; LyCORIS.
    """

    scale: Tensor
    on_input: bool

    def fits(self, shape: Sequence[int]) -> bool:
        """See ``Change``."""
        return len(shape) > 1 and self.scale.numel() == shape[1 if self.on_input else 0]

    def delta(self, weight: Tensor, rank_limit: int | None = None) -> Tensor:
        """See ``Change``."""
        (scale,) = _on(weight, self.scale)
        ones = [1] * weight.ndim
        ones[1 if self.on_input else 0] = -1
        return weight * scale.reshape(ones)


@dataclass(frozen=True)
class Difference(_AddedWhole):
    """The change itself ("full", ``.diff``); also of norms (``.w_norm``)."""

    diff: Tensor

    def fits(self, shape: Sequence[int]) -> bool:
        """See ``Change``."""
        return _rows(self.diff.shape) == _rows(shape)

    def delta(self, weight: Tensor, rank_limit: int | None = None) -> Tensor:
        """See ``Change``."""
        return _on(weight, self.diff)[0].reshape(weight.shape)


@dataclass(frozen=True)
class Replacement(_AddedWhole):
    """Another weight in place of the layer's (``.set_weight``)."""

    new: Tensor

    def fits(self, shape: Sequence[int]) -> bool:
        """See ``Change``."""
        return _rows(self.new.shape) == _rows(shape)

    def delta(self, weight: Tensor, rank_limit: int | None = None) -> Tensor:
        """See ``Change``."""
        return _on(weight, self.new)[0].reshape(weight.shape) - weight


@dataclass(frozen=True)
class General(_AddedWhole):
    """GLoRA: b1 · b2 + W · a1 · a2.

    Attributes:
        a1: (i, r). a2: (r, i). b1: (o, r). b2: (r, i).
        factor: alpha / r.
    Source:
        Chavan et al. 2023, arXiv 2306.07967; LyCORIS.
    """

    a1: Tensor
    a2: Tensor
    b1: Tensor
    b2: Tensor
    factor: float

    def fits(self, shape: Sequence[int]) -> bool:
        """See ``Change``."""
        if len(shape) < 2:
            return False
        rows = _rows(shape)
        acts_on_inputs = _product_shape(self.a1, self.a2, None)
        return _product_shape(self.b1, self.b2, None) == rows and acts_on_inputs in (
            (rows[1], rows[1]), (shape[1], shape[1]),
        )  # fmt: skip

    def delta(self, weight: Tensor, rank_limit: int | None = None) -> Tensor:
        """See ``Change``."""
        a1, a2, b1, b2 = _on(weight, self.a1, self.a2, self.b1, self.b2)
        added = (b1 @ b2).reshape(weight.shape)
        if a1.shape[0] == math.prod(weight.shape[1:]):
            turned = (weight.flatten(1) @ a1 @ a2).reshape(weight.shape)
        else:  # a kernel: each of its places alike
            turned = torch.einsum("o i ..., i r, r j -> o j ...", weight, a1, a2)
        return (added + turned) * self.factor


@dataclass(frozen=True)
class Rotation(_AddedWhole):
    """OFT: blocks of outputs are turned by orthogonal matrices; with four axes BOFT, where
    several rounds of turning mix outputs ever further apart, as a butterfly network does.

    Attributes:
        blocks: (k, n, n), k · n = o; BOFT (rounds, k, n, n).
        are_turned: The blocks are the rotations themselves; otherwise their generators.
        alpha: Generators are shortened to a length of at most alpha · o; 0 = not.
        rescale: A factor for each output, or None.
    Source:
        Qiu et al. 2023, arXiv 2306.07280; Liu et al. 2023 (BOFT), arXiv 2311.06243; kohya and
        LyCORIS for how the blocks are stored.
    """

    blocks: Tensor
    are_turned: bool
    alpha: float
    rescale: Tensor | None

    def fits(self, shape: Sequence[int]) -> bool:
        """See ``Change``."""
        *rounds, count, size, width = self.blocks.shape
        if len(shape) < 2 or size != width or count * size != shape[0]:
            return False
        if rounds and (size % 2 or shape[0] % (2 ** rounds[0] * (size // 2))):
            return False
        return self.rescale is None or self.rescale.numel() == shape[0]

    def delta(self, weight: Tensor, rank_limit: int | None = None) -> Tensor:
        """See ``Change``."""
        rotations = self._rotations(weight)  # (…, k, n, n)
        flat = weight.flatten(1)  # (o, i·k·k)
        if rotations.ndim == 3:
            grouped = flat.reshape(*rotations.shape[:2], -1)  # (k, n, i)
            turned = torch.einsum("k n m, k n i -> k m i", rotations, grouped).reshape(flat.shape)
        else:
            turned = _butterfly(flat, rotations)
        if self.rescale is not None:
            turned = turned * _on(weight, self.rescale.reshape(-1, 1))[0]
        return (turned - flat).reshape(weight.shape)

    def _rotations(self, weight: Tensor) -> Tensor:
        (blocks,) = _on(weight, self.blocks)
        if self.are_turned:
            return blocks
        skew = blocks - blocks.transpose(-1, -2)
        longest = self.alpha * weight.shape[0]
        if longest > 0:
            length = skew.norm()
            skew = skew * ((length.clamp(max=longest) + 1e-8) / (length + 1e-8))
        eye = torch.eye(skew.shape[-1], device=skew.device)
        return (eye + skew) @ torch.linalg.inv(eye - skew)  # Cayley's map


def _butterfly(flat: Tensor, rotations: Tensor) -> Tensor:
    """Turn (o, c) by (rounds, k, n, n); round j pairs outputs 2**j half-blocks apart."""
    half = rotations.shape[-1] // 2
    for j, rotation in enumerate(rotations):
        stride = 2**j * half
        outputs, columns = flat.shape
        near = flat.reshape(-1, 2, stride, columns).transpose(1, 2).reshape(outputs, columns)
        blocks = near.reshape(rotation.shape[0], rotation.shape[1], columns)
        turned = torch.einsum("k n m, k m c -> k n c", rotation, blocks)
        flat = turned.reshape(-1, stride, 2, columns).transpose(1, 2).reshape(outputs, columns)
    return flat


@dataclass(frozen=True)
class Directed(_AddedWhole):
    """DoRA: any change, after which each output (or input) gets a length of its own.

    Attributes:
        inner: The change of direction.
        magnitude: (o, 1, …): lengths of outputs; (1, i, …): of inputs.
    Source:
        Liu et al. 2024, arXiv 2402.09353; LyCORIS, PEFT.
    """

    inner: Change
    magnitude: Tensor

    def fits(self, shape: Sequence[int]) -> bool:
        """See ``Change``."""
        if len(shape) < 2:
            return False
        wanted = shape[0] if self._is_of_outputs(shape) else shape[1]
        return self.inner.fits(shape) and self.magnitude.numel() == wanted

    def delta(self, weight: Tensor, rank_limit: int | None = None) -> Tensor:
        """See ``Change``."""
        changed = weight + self.inner.delta(weight, rank_limit)
        kept = 0 if self._is_of_outputs(weight.shape) else 1
        others = [axis for axis in range(weight.ndim) if axis != kept]
        length = torch.linalg.vector_norm(
            changed, dim=others, keepdim=True
        )  # (o, 1, …) or (1, i, …)
        (magnitude,) = _on(weight, self.magnitude.reshape(length.shape))
        return changed * (magnitude / (length + torch.finfo(torch.float32).eps)) - weight

    def _is_of_outputs(self, shape: Sequence[int]) -> bool:
        return self.magnitude.shape[0] == shape[0]


@dataclass(frozen=True)
class LayerChange:
    """Everything one file does to one layer.

    Attributes:
        weight: None when only the bias changes.
        bias: Added to the bias at weight 1, (o,).
    """

    weight: Change | None
    bias: Tensor | None = None

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether a layer whose weight has this shape can be changed."""
        if self.bias is not None and self.bias.numel() != shape[0]:
            return False
        return self.weight is None or self.weight.fits(shape)


_NUMBERS: Final = ("alpha", "scale", "on_input")
_AXES: Final[Mapping[str, tuple[int, int]]] = {
    **dict.fromkeys(("up", "down", "a1", "a2", "b1", "b2", "lokr_w1", "lokr_w2"), (2, 5)),
    **dict.fromkeys(("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"), (2, 2)),
    **dict.fromkeys(("lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b"), (2, 2)),
    **dict.fromkeys(("mid", "hada_t1", "hada_t2", "lokr_t2"), (3, 5)),
    **dict.fromkeys(("oft_blocks", "oft_diag"), (3, 4)),
    **dict.fromkeys(("dora_scale", "diff", "set_weight", "w_norm"), (1, 5)),
}
"""How few and how many axes a tensor may have, where the formats do not read it as a list."""


def _can_be(name: str, tensor: Tensor) -> bool:
    """Whether a tensor has a shape that its place in a format can have in some layer."""
    if name in _NUMBERS:
        return tensor.numel() == 1
    fewest, most = _AXES.get(name, (0, 5))
    return fewest <= tensor.ndim <= most


def read_change(tensors: Mapping[str, Tensor], usual_factor: float | None = None) -> (
    LayerChange | None
):  # fmt: skip
    """Make out what format the tensors of one layer are.

    Args:
        tensors: By the names that ``files`` gives them: up, down, alpha, hada_w1_a …
        usual_factor: In place of alpha / rank where the layer has no alpha of its own.
    Returns:
        None when they make up no known format.
    """
    if not all(_can_be(name, tensor) for name, tensor in tensors.items()):
        return None
    bias = tensors.get("diff_b", tensors.get("b_norm"))
    change = _weight_change(tensors, usual_factor)
    if change is None:
        return LayerChange(None, bias) if bias is not None else None
    if "dora_scale" in tensors:
        change = Directed(change, tensors["dora_scale"])
    return LayerChange(change, bias)


def _weight_change(t: Mapping[str, Tensor], usual_factor: float | None) -> Change | None:
    def has(*names: str) -> bool:
        return all(name in t for name in names)

    def factor(rank: int) -> float:
        if "scale" in t:
            return float(t["scale"])
        if "alpha" in t and rank:
            return float(t["alpha"]) / rank
        return usual_factor if usual_factor is not None else 1.0

    if has("up", "down"):
        return LowRank(t["up"], t["down"], t.get("mid"), factor(t["down"].shape[0]))
    if has("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"):
        return Hadamard(
            *(t["hada_w1_a"], t["hada_w1_b"], t["hada_w2_a"], t["hada_w2_b"]),
            *(t.get("hada_t1"), t.get("hada_t2")),
            factor(t["hada_w1_b"].shape[0]),
        )
    if _is_kronecker(t):
        low = next((t[name] for name in ("lokr_w1_b", "lokr_w2_b") if name in t), None)
        return Kronecker(
            *(t.get("lokr_w1"), t.get("lokr_w1_a"), t.get("lokr_w1_b")),
            *(t.get("lokr_w2"), t.get("lokr_w2_a"), t.get("lokr_w2_b")),
            t.get("lokr_t2"),
            factor(low.shape[0]) if low is not None else 1.0,
        )
    if has("a1", "a2", "b1", "b2"):
        return _general(t["a1"], t["a2"], t["b1"], t["b2"], factor)
    if has("oft_blocks") or has("oft_diag"):
        alpha = float(t["alpha"]) if "alpha" in t else 0.0
        blocks = t["oft_blocks"] if has("oft_blocks") else t["oft_diag"]
        return Rotation(blocks, not has("oft_blocks"), alpha, t.get("rescale"))
    if has("set_weight"):
        return Replacement(t["set_weight"])
    if has("weight", "on_input"):
        return Scaling(t["weight"].flatten(), bool(t["on_input"]))
    whole = t.get("diff", t.get("w_norm"))
    return Difference(whole) if whole is not None else None


def _is_kronecker(t: Mapping[str, Tensor]) -> bool:
    def has_block(name: str) -> bool:
        return name in t or (f"{name}_a" in t and f"{name}_b" in t)

    return has_block("lokr_w1") and has_block("lokr_w2")


def _general(a1: Tensor, a2: Tensor, b1: Tensor, b2: Tensor, factor: _Factor) -> General:
    """Older files have the two of each pair the other way round; the shapes tell, and where they
    do not (all square), the file is taken for a newer one."""
    a1, a2, b1, b2 = (x.flatten(1) for x in (a1, a2, b1, b2))
    is_new = a1.shape[1] == a2.shape[0] == b1.shape[1] == b2.shape[0]
    is_old = a1.shape[0] == a2.shape[1] == b1.shape[0] == b2.shape[1]
    if is_old and (not is_new or a1.shape[0] < a1.shape[1]):
        a1, a2, b1, b2 = a2, a1, b2, b1
    return General(a1, a2, b1, b2, factor(a2.shape[0]))


class _Factor(Protocol):
    def __call__(self, rank: int) -> float: ...
