"""Every format of the LoRA family against the plain sums of its definition."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from webui.networks.lora.changes import LayerChange, read_change

OUT, IN, R = 8, 6, 3
TENSORS = Mapping[str, Tensor]


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + 7 * len(shape)))


def change_of(tensors: TENSORS) -> LayerChange:
    change = read_change(tensors)
    assert change is not None
    return change


def delta(tensors: TENSORS, weight: Tensor, rank_limit: int | None = None) -> np.ndarray:
    """The change as calculated, in the shape of the weight."""
    change = change_of(tensors)
    assert change.fits(weight.shape) and change.weight is not None
    before = weight.clone()
    found = change.weight.delta(weight, rank_limit)
    assert torch.equal(weight, before)
    assert found.shape == weight.shape and found.dtype == torch.float32
    return found.numpy()


def same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert np.abs(wanted).max() > 0.01
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def n(tensor: Tensor) -> np.ndarray:
    return tensor.double().numpy()


def tucker(core: Tensor, out_side: Tensor, in_side: Tensor) -> np.ndarray:
    """Σ core[a, b] · out_side[a, o] · in_side[b, i], written as loops."""
    _, _, height, width = core.shape
    result = np.zeros((out_side.shape[1], in_side.shape[1], height, width))
    for a in range(core.shape[0]):
        for b in range(core.shape[1]):
            for y in range(height):
                for x in range(width):
                    outer = np.outer(n(out_side)[a], n(in_side)[b])
                    result[:, :, y, x] += n(core)[a, b, y, x] * outer
    return result


def test_lora_of_a_matrix_is_up_times_down_times_alpha_over_rank() -> None:
    t = {"up": some(OUT, R), "down": some(R, IN), "alpha": torch.tensor(1.5)}
    same(delta(t, some(OUT, IN)), n(t["up"]) @ n(t["down"]) * 1.5 / R)


@pytest.mark.parametrize("up_shape", [(OUT, R), (OUT, R, 1, 1)])
def test_lora_without_alpha_counts_whole_whatever_its_layers_shape(
    up_shape: tuple[int, ...],
) -> None:
    t = {"up": some(*up_shape), "down": some(R, IN, 1, 1)}
    wanted = n(t["up"]).reshape(OUT, R) @ n(t["down"]).reshape(R, IN)

    same(delta(t, some(OUT, IN)), wanted)
    same(delta(t, some(OUT, IN, 1, 1)), wanted[..., None, None])


def test_locon_of_a_kernel_is_up_times_every_place_of_down() -> None:
    t = {"up": some(OUT, R, 1, 1), "down": some(R, IN, 3, 3), "alpha": torch.tensor(2.0)}
    wanted = np.zeros((OUT, IN, 3, 3))
    for y in range(3):
        for x in range(3):
            wanted[:, :, y, x] = n(t["up"])[:, :, 0, 0] @ n(t["down"])[:, :, y, x] * 2 / R
    same(delta(t, some(OUT, IN, 3, 3)), wanted)


def test_locon_with_a_core_is_tuckers_product() -> None:
    t = {
        "up": some(OUT, R, 1, 1), "down": some(R, IN, 1, 1, seed=1), "mid": some(R, R, 3, 3),
        "alpha": torch.tensor(6.0),
    }  # fmt: skip
    wanted = tucker(t["mid"], t["up"][:, :, 0, 0].T, t["down"][:, :, 0, 0]) * 6 / R
    same(delta(t, some(OUT, IN, 3, 3)), wanted)


def test_rank_limit_when_given_uses_only_the_first_ranks() -> None:
    t = {"up": some(OUT, R), "down": some(R, IN), "alpha": torch.tensor(3.0)}
    same(delta(t, some(OUT, IN), 2), n(t["up"])[:, :2] @ n(t["down"])[:2])


@pytest.mark.parametrize("kernel", [(), (3, 3)])
def test_loha_is_the_product_of_two_products(kernel: tuple[int, ...]) -> None:
    columns = IN * math.prod(kernel)
    t = {
        "hada_w1_a": some(OUT, R), "hada_w1_b": some(R, columns, seed=1),
        "hada_w2_a": some(OUT, R, seed=2), "hada_w2_b": some(R, columns, seed=3),
        "alpha": torch.tensor(1.0),
    }  # fmt: skip
    first = n(t["hada_w1_a"]) @ n(t["hada_w1_b"])
    second = n(t["hada_w2_a"]) @ n(t["hada_w2_b"])
    wanted = (first * second / R).reshape(OUT, IN, *kernel)
    same(delta(t, some(OUT, IN, *kernel)), wanted)


def test_loha_with_cores_is_the_product_of_two_tucker_products() -> None:
    t = {
        "hada_w1_a": some(R, OUT), "hada_w1_b": some(R, IN, seed=1), "hada_t1": some(R, R, 3, 3),
        "hada_w2_a": some(R, OUT, seed=2), "hada_w2_b": some(R, IN, seed=3),
        "hada_t2": some(R, R, 3, 3, seed=4), "alpha": torch.tensor(3.0),
    }  # fmt: skip
    first = tucker(t["hada_t1"], t["hada_w1_a"], t["hada_w1_b"])
    second = tucker(t["hada_t2"], t["hada_w2_a"], t["hada_w2_b"])
    same(delta(t, some(OUT, IN, 3, 3)), first * second)


def kronecker(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(o1, i1) and (o2, i2, …) → (o1·o2, i1·i2, …), entry by entry."""
    (o1, i1), (o2, i2) = first.shape, second.shape[:2]
    result = np.zeros((o1 * o2, i1 * i2, *second.shape[2:]))
    for o in range(o1 * o2):
        for i in range(i1 * i2):
            result[o, i] = first[o // o2, i // i2] * second[o % o2, i % i2]
    return result


def test_lokr_of_whole_blocks_ignores_alpha() -> None:
    t = {"lokr_w1": some(2, 3), "lokr_w2": some(4, 2), "alpha": torch.tensor(9999.0)}
    same(delta(t, some(OUT, IN)), kronecker(n(t["lokr_w1"]), n(t["lokr_w2"])))


def test_lokr_of_low_rank_blocks_counts_alpha_over_rank() -> None:
    t = {
        "lokr_w1_a": some(2, R), "lokr_w1_b": some(R, 3), "lokr_w2_a": some(4, R, seed=1),
        "lokr_w2_b": some(R, 2, seed=1), "alpha": torch.tensor(1.0),
    }  # fmt: skip
    first = n(t["lokr_w1_a"]) @ n(t["lokr_w1_b"])
    second = n(t["lokr_w2_a"]) @ n(t["lokr_w2_b"])
    same(delta(t, some(OUT, IN)), kronecker(first, second) / R)


@pytest.mark.parametrize("form", ["whole", "low rank", "core"])
def test_lokr_of_a_kernel_in_each_form(form: str) -> None:
    t = {"lokr_w1": some(2, 3), "alpha": torch.tensor(1.0)}
    if form == "whole":
        t["lokr_w2"] = some(4, 2, 3, 3)
        second, factor = n(t["lokr_w2"]), 1.0
    elif form == "low rank":
        t |= {"lokr_w2_a": some(4, R), "lokr_w2_b": some(R, 2 * 9)}
        second = (n(t["lokr_w2_a"]) @ n(t["lokr_w2_b"])).reshape(4, 2, 3, 3)
        factor = 1 / R
    else:
        t |= {"lokr_w2_a": some(R, 4), "lokr_w2_b": some(R, 2), "lokr_t2": some(R, R, 3, 3)}
        second, factor = tucker(t["lokr_t2"], t["lokr_w2_a"], t["lokr_w2_b"]), 1 / R
    wanted = kronecker(n(t["lokr_w1"]), second) * factor
    same(delta(t, some(OUT, IN, 3, 3)), wanted)


@pytest.mark.parametrize("shape", [(OUT, IN), (OUT, IN, 3, 3)])
@pytest.mark.parametrize("on_input", [True, False])
def test_ia3_scales_rows_or_columns(shape: tuple[int, ...], on_input: bool) -> None:
    t = {"weight": some(IN if on_input else OUT), "on_input": torch.tensor(on_input)}
    weight = some(*shape)
    wanted = n(weight).copy()
    for i in range(len(t["weight"])):
        if on_input:
            wanted[:, i] *= float(t["weight"][i])
        else:
            wanted[i] *= float(t["weight"][i])
    same(delta(t, weight), wanted)


def test_full_differences_of_weight_and_bias_are_added() -> None:
    t = {"diff": some(OUT, IN), "diff_b": some(OUT)}
    same(delta(t, some(OUT, IN)), n(t["diff"]))
    bias = change_of(t).bias
    assert bias is not None and torch.equal(bias, t["diff_b"])


def test_set_weight_puts_another_in_place() -> None:
    weight, new = some(OUT, IN), some(OUT, IN, seed=5)
    same(delta({"set_weight": new}, weight), n(new) - n(weight))


def test_norms_change_both_their_parts() -> None:
    t = {"w_norm": some(OUT), "b_norm": some(OUT, seed=1)}
    same(delta(t, some(OUT)), n(t["w_norm"]))
    bias = change_of(t).bias
    assert bias is not None and torch.equal(bias, t["b_norm"])


@pytest.mark.parametrize("is_old", [True, False])
@pytest.mark.parametrize("inputs", [IN, OUT])
def test_glora_adds_to_and_multiplies_the_weight(is_old: bool, inputs: int) -> None:
    a1, a2, b1, b2 = some(inputs, R), some(R, inputs), some(OUT, R, seed=1), some(R, inputs, seed=2)
    parts = (a2, a1, b2, b1) if is_old else (a1, a2, b1, b2)
    t = dict(zip(("a1", "a2", "b1", "b2"), parts, strict=True)) | {"alpha": torch.tensor(1.0)}
    weight = some(OUT, inputs)
    wanted = (n(b1) @ n(b2) + n(weight) @ n(a1) @ n(a2)) / R
    same(delta(t, weight), wanted)


def cayley(blocks: Tensor, longest: float = math.inf) -> np.ndarray:
    skew = n(blocks) - n(blocks).swapaxes(-1, -2)
    length = math.sqrt((skew**2).sum())
    if length > longest:
        skew = skew * longest / length
    eye = np.eye(skew.shape[-1])
    return np.stack([(eye + q) @ np.linalg.inv(eye - q) for q in skew])


@pytest.mark.parametrize("shape", [(OUT, IN), (OUT, IN, 3, 3)])
@pytest.mark.parametrize("alpha", [None, 0.0, 0.01])
def test_oft_turns_blocks_of_outputs(shape: tuple[int, ...], alpha: float | None) -> None:
    t = {"oft_blocks": some(2, 4, 4)}
    if alpha is not None:
        t["alpha"] = torch.tensor(alpha)
    weight = some(*shape)
    rotations = cayley(t["oft_blocks"], alpha * OUT if alpha else math.inf)
    for rotation in rotations:
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(4), atol=1e-6)
    turned = n(weight).copy()
    for block in range(2):
        rows = n(weight)[4 * block : 4 * block + 4].reshape(4, -1)
        place = turned[4 * block : 4 * block + 4]
        place[:] = (rotations[block].T @ rows).reshape(place.shape)
    same(delta(t, weight), turned - n(weight))


def test_oft_of_old_files_holds_the_rotations_themselves() -> None:
    blocks = torch.linalg.qr(some(2, 4, 4))[0]
    weight = some(OUT, IN)
    turned = np.concatenate([n(blocks)[b].T @ n(weight)[4 * b : 4 * b + 4] for b in range(2)])
    same(delta({"oft_diag": blocks}, weight), turned - n(weight))


def test_boft_turns_in_rounds_that_pair_ever_farther_outputs() -> None:
    t = {"oft_blocks": some(3, 4, 2, 2), "rescale": some(OUT, 1)}
    weight = some(OUT, IN)
    turned = n(weight).copy()
    for round_, blocks in enumerate(t["oft_blocks"]):
        rotations, stride = cayley(blocks), 2**round_
        pairs = [(o, o + stride) for o in range(OUT) if not o & stride]
        for rotation, (a, b) in zip(rotations, pairs, strict=True):
            turned[[a, b]] = rotation @ turned[[a, b]]
    turned *= n(t["rescale"])
    same(delta(t, weight), turned - n(weight))


@pytest.mark.parametrize("shape", [(OUT, IN), (OUT, IN, 3, 3)])
@pytest.mark.parametrize("side", ["outputs", "inputs", "peft"])
def test_dora_gives_each_output_or_input_a_length(shape: tuple[int, ...], side: str) -> None:
    ones = [1] * (len(shape) - 1)
    magnitude = {
        "outputs": some(OUT, *ones), "peft": some(OUT), "inputs": some(1, IN, *ones[1:]),
    }[side].abs()  # fmt: skip
    t = {
        "up": some(OUT, R),
        "down": some(R, *shape[1:]), "alpha": torch.tensor(1.5), "dora_scale": magnitude,
    }  # fmt: skip
    weight = some(*shape)
    low = (n(t["up"]) @ n(t["down"]).reshape(R, -1) * 1.5 / R).reshape(shape)
    wanted = n(weight) + low
    for index in range(IN if side == "inputs" else OUT):
        place = wanted[:, index] if side == "inputs" else wanted[index]
        place *= float(magnitude.flatten()[index]) / math.sqrt((place**2).sum())
    same(delta(t, weight), wanted - n(weight))


def test_dora_goes_around_other_formats_too() -> None:
    t = {"lokr_w1": some(2, 3), "lokr_w2": some(4, 2), "dora_scale": some(OUT, 1).abs()}
    weight = some(OUT, IN)
    wanted = n(weight) + kronecker(n(t["lokr_w1"]), n(t["lokr_w2"]))
    wanted *= n(t["dora_scale"]) / np.linalg.norm(wanted, axis=1, keepdims=True)
    same(delta(t, weight), wanted - n(weight))


def test_scale_when_stored_wins_over_alpha() -> None:
    t = {"up": some(OUT, R), "down": some(R, IN), "alpha": torch.tensor(1.0)}
    scaled = {**t, "scale": torch.tensor(0.25)}
    same(delta(scaled, some(OUT, IN)), n(t["up"]) @ n(t["down"]) * 0.25)


FOREIGN: dict[str, Callable[[], TENSORS]] = {
    "lora": lambda: {"up": some(OUT, R), "down": some(R, IN)},
    "lora whose halves differ": lambda: {"up": some(OUT + 1, R + 1), "down": some(R, IN)},
    "core": lambda: {"up": some(OUT, R), "down": some(R, IN), "mid": some(R, R, 3, 3)},
    "loha": lambda: {
        "hada_w1_a": some(OUT, R), "hada_w1_b": some(R, IN),
        "hada_w2_a": some(OUT, R), "hada_w2_b": some(R, IN),
    },
    "lokr": lambda: {"lokr_w1": some(2, 3), "lokr_w2": some(4, 2)},
    "ia3": lambda: {"weight": some(OUT), "on_input": torch.tensor(False)},
    "diff": lambda: {"diff": some(OUT, IN)},
    "diff_b": lambda: {"diff_b": some(OUT)},
    "glora": lambda: {
        "a1": some(IN, R), "a2": some(R, IN), "b1": some(OUT, R), "b2": some(R, IN),
    },
    "oft": lambda: {"oft_blocks": some(2, 4, 4)},
    "dora": lambda: {
        "up": some(OUT, R), "down": some(R, IN), "dora_scale": some(OUT + 1, 1),
    },
}  # fmt: skip


@pytest.mark.parametrize("form", FOREIGN)
def test_fit_when_the_layer_has_another_shape_is_denied(form: str) -> None:
    shape = (OUT, IN) if form == "dora" else (OUT + 1, IN + 1)
    assert not change_of(FOREIGN[form]()).fits(shape)


@pytest.mark.parametrize(
    "tensors",
    [
        {}, {"alpha": torch.tensor(1.0)}, {"up": some(OUT, R)}, {"weight": some(OUT)},
        {"hada_w1_a": some(OUT, R)}, {"lokr_w1": some(2, 3), "lokr_w2_a": some(4, R)},
    ],
)  # fmt: skip
def test_tensors_when_they_make_up_no_format_are_no_change(tensors: TENSORS) -> None:
    assert read_change(tensors) is None


NONSENSE: list[tuple[dict[str, tuple[int, ...]], tuple[int, ...]]] = [
    ({"up": (OUT, R), "down": (R, IN), "alpha": (2, 2)}, (OUT, IN)),
    ({"up": (OUT, R), "down": ()}, (OUT, IN)),
    ({"up": (OUT, R), "down": (R, IN), "dora_scale": ()}, (OUT, IN)),
    ({"up": (OUT, R), "down": (R + 1, IN)}, (OUT, IN)),
    ({"up": (OUT, R), "down": (R, IN), "mid": (R, R)}, (OUT, IN)),
    ({"hada_w1_a": (OUT, R), "hada_w1_b": (), "hada_w2_a": (OUT, R), "hada_w2_b": (R, IN)},
     (OUT, IN)),
    ({"lokr_w1": (), "lokr_w2": (OUT, IN)}, (OUT, IN)),
    ({"lokr_w1": (2,), "lokr_w2": (OUT // 2, IN)}, (OUT, IN)),
    ({"lokr_w1": (2, 2), "lokr_w2_a": (4, R), "lokr_w2_b": ()}, (OUT, IN)),
    ({"a1": (IN, R), "a2": (), "b1": (OUT, R), "b2": (R, IN)}, (OUT, IN)),
    ({"a1": (1, R), "a2": (R, 1), "b1": (OUT, R), "b2": (R, 1)}, (OUT,)),
    ({"oft_blocks": (2, 4, 4), "alpha": (3,)}, (OUT, IN)),
    ({"oft_blocks": (2, 4, 4)}, (OUT,)),
    ({"oft_blocks": (4, 2, 4, 4)}, (OUT, IN)),
    ({"oft_diag": (8, 8, 1, 1)}, (OUT, IN)),
    ({"weight": (OUT,), "on_input": (2,)}, (OUT, IN)),
    ({"diff": ()}, (OUT, IN)),
    ({"w_norm": (OUT,), "dora_scale": (IN,)}, (OUT,)),
]  # fmt: skip


@pytest.mark.parametrize(("shapes", "layer"), NONSENSE)
def test_tensors_of_impossible_shapes_fit_no_layer(
    shapes: dict[str, tuple[int, ...]], layer: tuple[int, ...]
) -> None:
    change = read_change({name: some(*shape) for name, shape in shapes.items()})

    assert change is None or not change.fits(layer)
