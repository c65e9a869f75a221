"""Hypernetworks: files of A1111's versions, what they calculate, on a model and off again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.pipelines.conftest import Ear, Shelf, networks
from webui.checkpoints.hypernetwork_file import read_hypernetwork
from webui.errors import CheckpointError, UnsafeCheckpointError
from webui.networks.hypernetworks import put_on
from webui.params import build
from webui.pipelines.runs import run_class

TEXT, PICTURE = 128, 160
"""Widths that the starter checkpoint's attention reads."""
Save = Callable[..., Path]


def linear(seed: int, gives: int, reads: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(gives, reads, generator=generator) * 0.05
    return weight, torch.randn(gives, generator=generator) * 0.05


def network(width: int, seed: int, at: tuple[int, ...] = (0, 2), norm: int = 0) -> dict[str, Any]:
    """A state dict of two linear layers [1, 2, 1] at these places of the sequence, with a
    normalisation after the first one at ``norm``."""
    sizes = (width, 2 * width, width)
    state: dict[str, Any] = {}
    for number, place in enumerate(at):
        weight, bias = linear(seed + number, sizes[number + 1], sizes[number])
        state |= {f"linear.{place}.weight": weight, f"linear.{place}.bias": bias}
    if norm:
        weight, bias = linear(seed + 9, 2 * width, 1)
        state |= {f"linear.{norm}.weight": weight[:, 0] + 1, f"linear.{norm}.bias": bias}
    return state


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(name: str = "oil", widths: tuple[int, ...] = (TEXT,), seed: int = 1, **stated: Any):
        at, norm = stated.pop("at", (0, 2)), stated.pop("norm", 0)
        content = {w: (network(w, seed, at, norm), network(w, seed + 4, at, norm)) for w in widths}
        torch.save({**content, "step": 9, "name": "x", **stated}, tmp_path / f"{name}.pt")
        return tmp_path / f"{name}.pt"

    return write


def plain(state: dict[str, Tensor], states: Tensor, activation: Any, last: Any) -> Tensor:
    """The definition: linear, activation, normalisation, linear, and at times activation."""
    weights = [state[n] for n in sorted(state) if n.endswith("weight") and state[n].ndim == 2]
    biases = [state[n.replace("weight", "bias")] for n in sorted(state) if n.endswith("weight")]
    norm = next((n for n in state if n.endswith("weight") and state[n].ndim == 1), None)
    hidden = activation(states @ weights[0].T + biases[0])
    if norm:
        hidden = functional.layer_norm(
            hidden, hidden.shape[-1:], state[norm], state[norm.replace("weight", "bias")]
        )
        biases = [b for b in biases if b.shape[0] != hidden.shape[-1]] * 2
    return last(hidden @ weights[1].T + biases[1])


def same(values: Tensor) -> Tensor:
    return values


@pytest.mark.parametrize(
    ("stated", "activation", "last"),
    [
        ({"at": (0, 1)}, same, same),
        ({"at": (0, 1), "activation_func": "linear"}, same, same),
        ({"activation_func": "relu"}, torch.relu, torch.relu),
        ({"activation_func": "relu", "activate_output": False}, torch.relu, same),
        ({"activation_func": "swish", "activate_output": False}, functional.hardswish, same),
        ({"activation_func": "mish", "activate_output": False}, functional.mish, same),
        (
            {"activation_func": "tanh", "activate_output": False, "is_layer_norm": True,
             "at": (0, 3), "norm": 2}, torch.tanh, same,
        ),
        (
            {"activation_func": "elu", "activate_output": False, "use_dropout": True,
             "dropout_structure": [0, 0.3, 0], "at": (0, 3)}, functional.elu, same,
        ),
    ],
)  # fmt: skip
def test_networks_when_read_calculate_what_is_defined(
    save: Save, stated: dict[str, Any], activation: Any, last: Any
) -> None:
    path = save(layer_structure=[1, 2, 1], **stated)
    states = torch.randn(2, 7, TEXT, generator=torch.Generator().manual_seed(5))
    file = read_hypernetwork(path)

    for which, seed in enumerate((1, 5)):
        state = network(TEXT, seed, stated.get("at", (0, 2)), stated.get("norm", 0))
        found = file.pairs[TEXT][which](states)
        assert torch.allclose(found, plain(state, states, activation, last), atol=1e-6)


def test_files_of_the_first_version_when_read_are_understood(save: Save, tmp_path: Path) -> None:
    new = read_hypernetwork(save(at=(0, 1)))
    old = {
        name.replace("linear.0", "linear1").replace("linear.1", "linear2"): tensor
        for name, tensor in network(TEXT, 1, (0, 1)).items()
    }
    torch.save({TEXT: (old, old)}, tmp_path / "old.pt")
    states = torch.randn(1, 3, TEXT)

    found = read_hypernetwork(tmp_path / "old.pt").pairs[TEXT][0](states)
    assert torch.equal(found, new.pairs[TEXT][0](states))


@pytest.mark.parametrize(
    ("stated", "word"),
    [({"activation_func": "warp"}, "'warp'"), ({TEXT: (network(160, 1), network(160, 1))}, "128")],
)
def test_files_when_their_parts_do_not_fit_are_refused(
    save: Save, stated: dict[Any, Any], word: str, tmp_path: Path
) -> None:
    path = save()
    torch.save({TEXT: (network(TEXT, 1), network(TEXT, 2)), **stated}, path)

    with pytest.raises(CheckpointError, match=r"oil\.pt is a hypernetwork that cannot be") as told:
        read_hypernetwork(path)
    assert word in str(told.value)


def test_files_when_they_are_something_else_are_refused(tmp_path: Path) -> None:
    torch.save({"params_ema": {"conv_first.weight": torch.ones(3, 3)}}, tmp_path / "up.pt")
    torch.save({TEXT: print}, tmp_path / "bad.pt")

    with pytest.raises(CheckpointError, match="no hypernetwork: it is an upscaler"):
        read_hypernetwork(tmp_path / "up.pt")
    with pytest.raises(UnsafeCheckpointError, match="print"):
        read_hypernetwork(tmp_path / "bad.pt")


def test_attention_when_several_are_on_reads_through_all_in_order_and_then_as_before(
    save: Save, starter: Any
) -> None:
    files = [read_hypernetwork(save(name, (TEXT, PICTURE), seed)) for name, seed in
             (("one", 1), ("two", 30))]  # fmt: skip
    attention = starter.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2
    to_k, to_v = attention.to_k, attention.to_v
    states = torch.randn(1, 5, TEXT, generator=torch.Generator().manual_seed(3))
    before = to_k(states), to_v(states)
    with torch.inference_mode():
        hooks = put_on(starter.unet, [(files[0], 0.5), (files[1], -2.0)])
        found = to_k(states), to_v(states)
    for hook in hooks:
        hook.remove()

    for which, layer in enumerate((to_k, to_v)):
        context = states
        for file, strength in zip(files, (0.5, -2.0), strict=True):
            context = context + strength * file.pairs[TEXT][which](context)
        assert torch.allclose(found[which], layer(context), atol=1e-5)
        assert not torch.allclose(found[which], before[which], atol=1e-2)
    assert torch.equal(to_k(states), before[0]) and torch.equal(to_v(states), before[1])


@pytest.fixture
def paint(starter: Any, encoder: Any, save: Save) -> Callable[[str], tuple[np.ndarray, list[str]]]:
    """Paints one small picture, the networks off afterwards, and gives the warnings too."""
    paths = {
        "oil": save("oil", (TEXT, PICTURE)), "ink": save("ink", (TEXT,), 20),
        "large": save("large", (768, 320)), "mixed": save("mixed", (TEXT, 320)),
    }  # fmt: skip

    def read(name: str) -> Any:
        if name not in paths:
            raise CheckpointError(f"No hypernetwork named {name!r}.", "Put it there.")
        return read_hypernetwork(paths[name])

    def run(prompt: str) -> tuple[np.ndarray, list[str]]:
        ear = Ear()
        shelf = Shelf(starter, encoder, networks=networks(ear.warn, hypernetworks=read))
        params = build("txt2img", {"prompt": prompt, "width": 64, "height": 64, "steps": 2})
        try:
            run_class(params)(params, shelf, ear).paint()
        finally:
            shelf.networks.take_off()
        return np.asarray(ear.pictures[0].image, dtype=int), ear.warnings

    return run


def test_pictures_when_tags_name_hypernetworks_change_with_them_and_are_then_as_before(
    paint: Any,
) -> None:
    before, none = paint("a hedgehog")
    strong, told = paint("a hedgehog <hypernet:oil:8>")
    both, _ = paint("a hedgehog <hypernet:oil:8><hypernet:ink:8>")
    after, _ = paint("a hedgehog")

    assert np.array_equal(before, after) and not none and not told
    assert not np.array_equal(before, strong) and not np.array_equal(strong, both)


@pytest.mark.parametrize(
    ("tag", "words", "acts"),
    [
        ("<hypernet:nowhere>", ("No hypernetwork named 'nowhere'. Put it there.",), False),
        ("<hypernet:oil:much>", ("'much'",), False),
        ("<hypernet:large>", ("was not applied", "320, 768", "SD 1.x", "64, 128, 160"), False),
        ("<hypernet:mixed:8>", ("320", "no use"), True),
        ("<nothing:oil>", ("<nothing:oil> was left out",), False),
    ],
)
def test_tags_when_they_cannot_be_followed_whole_are_told_about(
    paint: Any, tag: str, words: tuple[str, ...], acts: bool
) -> None:
    before, _ = paint("a hedgehog")
    found, warnings = paint(f"a hedgehog {tag}")

    assert len(warnings) == 1 and all(word in warnings[0] for word in words)
    assert np.array_equal(before, found) != acts
