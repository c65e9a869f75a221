"""ControlLLLites before layers of SDXL's U-Net: what kohya's formula says, and nothing stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, linear, relu

from tests.checkpoints.small_families import make, single_file
from tests.control_files import controlnet_for, lite_state, write
from tests.pipelines.test_control import (
    A,
    B,
    by_diffusers,
    controlled,
    guess,
    hint,
    texts_for,
    wish,
)
from webui.checkpoints.load import load_checkpoint
from webui.checkpoints.load_controlnet import LoadedLite, load_controlnet
from webui.errors import CheckpointError, UnknownArchitectureError
from webui.networks.lllite import LiteError, cells_of
from webui.networks.lora.names import original_unet_names

TEXTS = texts_for(192, 96)


@pytest.fixture(scope="module")
def small() -> Any:
    return make("sdxl")


@pytest.fixture(scope="module")
def model(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_checkpoint(single_file(small, tmp_path_factory.mktemp("xl") / "xl.safetensors"))


@pytest.fixture(scope="module")
def nets(small: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("lite")
    for name, seed in (("one", 7), ("two", 8)):
        save_file(lite_state(small.unet, seed), folder / f"{name}.safetensors")
    beside = write(controlnet_for(small.unet), folder / "beside.safetensors", prefix="")
    found: dict[str, Any] = {
        n: load_controlnet(folder / f"{n}.safetensors") for n in ("one", "two")
    }
    return found | {"beside": load_controlnet(beside)}


def latents() -> Tensor:
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)) * 5


def kohya(state: dict[str, Tensor], name: str, values: Tensor, map_: Tensor, side: int) -> Tensor:
    """What is added to what a layer reads, word for word as the format is described."""

    def part(layer: str) -> tuple[Tensor, Tensor]:
        return state[f"{name}.{layer}.weight"], state[f"{name}.{layer}.bias"]

    seen = map_ * 2 - 1
    for place in (0, 2, 4):
        if f"{name}.conditioning1.{place}.weight" in state:
            weight, bias = part(f"conditioning1.{place}")
            seen = conv2d(relu(seen) if place else seen, weight, bias, stride=weight.shape[-1])
    seen = interpolate(seen, (side, side), mode="nearest-exact").flatten(2).permute(0, 2, 1)
    inner = torch.cat([seen, relu(linear(values, *part("down.0")))], dim=2)
    return linear(relu(linear(inner, *part("mid.0"))), *part("up.0"))


def estimate(model: Any, unet: Any, worn: list[tuple[dict[str, Tensor], Tensor, Any]]) -> Tensor:
    """diffusers' own U-Net with forwards that are changed by hand.

    Args:
        worn: Tensors, map, and how strongly each of both halves is changed, by layer's name.
    """
    paths = [name for name, _ in unet.named_modules()]
    original = original_unet_names(paths)
    changed: list[Any] = []
    for path in paths:
        name = "lllite_unet_" + original.get(path, path).replace(".", "_")
        mine = [one for one in worn if f"{name}.down.0.weight" in one[0]]
        if not mine:
            continue
        layer = unet.get_submodule(path)

        def forward(values: Tensor, layer: Any = layer, name: str = name, mine: Any = mine) -> Any:
            more = torch.zeros_like(values)
            for state, map_, share in mine:
                seen = map_.expand(len(values), -1, -1, -1)
                more += kohya(state, name, values, seen, 4) * share(name)
            return linear(values + more, layer.weight, layer.bias)

        layer.forward = forward
        changed.append(layer)
    try:
        return by_diffusers(model, unet, lambda *a, **b: (None, None), latents(), TEXTS)
    finally:
        for layer in changed:
            del layer.forward


def near(ours: Tensor, theirs: Tensor) -> bool:
    return float((ours - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())


def test_estimate_when_two_act_then_is_what_the_format_says_and_nothing_stays(
    small: Any, model: Any, nets: dict[str, Any]
) -> None:
    plain = guess(model, None, latents(), *TEXTS)
    params = wish({"weight": 0.8}, {"model": "two", "image": B, "weight": 1.5})
    ours = guess(model, controlled(model, nets, params), latents(), *TEXTS)
    theirs = estimate(
        model, small.unet,
        [(lite_state(small.unet, 7), hint(A), lambda name: 0.8),
         (lite_state(small.unet, 8), hint(B), lambda name: 1.5)],
    )  # fmt: skip
    assert near(ours, theirs)
    assert float((ours - plain).abs().max()) > 0.02 * float(plain.abs().max())
    assert torch.equal(guess(model, None, latents(), *TEXTS), plain)


def test_estimate_when_it_matters_more_then_the_prompt_alone_and_softer_outside(
    small: Any, model: Any, nets: dict[str, Any]
) -> None:
    params = wish({"control_mode": "ControlNet is more important"})
    ours = guess(model, controlled(model, nets, params), latents(), *TEXTS)
    half = torch.tensor([1.0, 0.0]).view(2, 1, 1)
    places = {"input_blocks_3": 3, "middle_block": 4}

    def share(name: str) -> Tensor:
        (place,) = (number for block, number in places.items() if block in name)
        return half * 0.825 ** (12 - place)

    state = lite_state(small.unet, 7)
    assert near(ours, estimate(model, small.unet, [(state, hint(A), share)]))


def test_estimate_when_a_controlnet_acts_beside_it_then_both_do(
    model: Any, nets: dict[str, Any]
) -> None:
    found = [
        guess(model, controlled(model, nets, wish(*units)), latents(), *TEXTS)
        for units in ([{}], [{"model": "beside"}], [{}, {"model": "beside"}])
    ]
    gaps = [float((found[2] - one).abs().max()) for one in found[:2]]
    assert min(gaps) > 0.01


def test_file_when_it_is_no_good_then_says_why(
    small: Any, starter: Any, nets: dict[str, Any], tmp_path: Path
) -> None:
    def saved(change: Callable[[str, Tensor], Tensor]) -> Path:
        state = lite_state(small.unet)
        save_file(
            {n: change(n, t).contiguous() for n, t in state.items()}, tmp_path / "a.safetensors"
        )
        return tmp_path / "a.safetensors"

    assert isinstance(nets["one"], LoadedLite)
    with pytest.raises(CheckpointError, match="do not follow on each other"):
        load_controlnet(saved(lambda n, t: t[:, 1:] if n.endswith("mid.0.weight") else t))
    with pytest.raises(CheckpointError, match="shape"):
        load_controlnet(saved(lambda n, t: t[1:] if n.endswith("mid.0.bias") else t))
    stray = {**lite_state(small.unet), "pop.down.0.weight": torch.zeros(2, 2)}
    save_file(stray, tmp_path / "c.safetensors")
    with pytest.raises(CheckpointError, match="belongs to no layer"):
        load_controlnet(tmp_path / "c.safetensors")
    first = {n: t for n, t in lite_state(small.unet).items() if "blocks_0" in n}
    save_file(first, tmp_path / "b.safetensors")
    with pytest.raises(UnknownArchitectureError, match="not SDXL's"):
        load_controlnet(tmp_path / "b.safetensors")
    with pytest.raises(UnknownArchitectureError, match=r"one cannot guide .*for SDXL"):
        controlled(starter, nets, wish({}))
    assert nets["one"].spec.misfit(nets["beside"].spec.unet, "sdxl") == ""
    other = type(nets["beside"].spec.unet)(4, 4, (32, 64), 1, (0, 2), 192, 1, 16)
    assert "widths" in nets["one"].spec.misfit(other, "sdxl")


def test_cells_when_levels_are_uneven_then_are_halved_as_the_u_net_halves_them() -> None:
    assert cells_of(17 * 9, (33, 17)) == (17, 9)
    assert cells_of(9 * 5, (33, 17)) == (9, 5)
    with pytest.raises(LiteError, match="no level"):
        cells_of(100, (33, 17))
