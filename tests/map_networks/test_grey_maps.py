"""Soft edges and drawings: networks as published, and what is made of their answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from webui.errors import CheckpointError
from webui.preprocessors.names import BY_NAME
from webui.torch_setup import prepare_torch

prepare_torch()

from tests.map_networks.small_map_networks import write_file  # noqa: E402
from webui.map_networks.edge_networks import HedNetwork, PidiNetwork  # noqa: E402
from webui.map_networks.grey_maps import (  # noqa: E402
    GREY_NETWORKS,
    GreyMap,
    in_steps,
    scribbled,
)
from webui.map_networks.line_networks import AnimeNetwork, DrawingNetwork  # noqa: E402
from webui.map_networks.open import map_maker, open_map_network  # noqa: E402
from webui.map_networks.parts_network import PartsNetwork  # noqa: E402

CPU = torch.device("cpu")


def on_meta(build: Any, *args: Any) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in build(*args).state_dict().items()}


@pytest.mark.parametrize(
    ("build", "numbers", "tensors"),
    [
        (HedNetwork, 14_716_168, {
            "norm": (1, 3, 1, 1), "block1.convs.0.weight": (64, 3, 3, 3),
            "block5.convs.2.bias": (512,), "block3.projection.weight": (1, 256, 1, 1)}),
        (PidiNetwork, 710_149, {
            "init_block.weight": (60, 3, 3, 3), "block1_1.conv1.weight": (60, 1, 3, 3),
            "block2_1.shortcut.bias": (120,), "block4_4.conv2.weight": (240, 240, 1, 1),
            "dilations.3.conv2_4.weight": (24, 24, 3, 3), "attentions.0.conv1.bias": (4,),
            "conv_reduces.1.conv.weight": (1, 24, 1, 1), "classifier.bias": (1,)}),
        (DrawingNetwork, 4_290_945, {
            "model0.1.weight": (64, 3, 7, 7), "model1.3.weight": (256, 128, 3, 3),
            "model2.2.conv_block.5.bias": (256,), "model3.0.weight": (256, 128, 3, 3),
            "model4.1.weight": (1, 64, 7, 7)}),
        (AnimeNetwork, 54_405_505, {
            "model.model.0.weight": (64, 3, 4, 4), "model.model.1.model.1.weight": (128, 64, 4, 4),
            "model.model.1.model.3.model.3.model.3.model.3.model.3.model.3.model.3.weight":
            (512, 512, 4, 4), "model.model.3.weight": (128, 1, 4, 4)}),
        (lambda: PartsNetwork(21), 36_832_324, {
            "conv4_3.weight": (512, 512, 3, 3), "conv6_2_CPM.bias": (22,),
            "Mconv1_stage2.weight": (128, 150, 7, 7)}),
        (lambda: PartsNetwork(70), 38_425_706, {
            "conv5_3_CPM.weight": (128, 512, 3, 3), "Mconv1_stage6.weight": (128, 199, 7, 7),
            "Mconv7_stage6.weight": (71, 128, 1, 1)}),
    ],
    ids=["hed", "pidinet", "drawing", "anime", "hand", "face"],
)  # fmt: skip
def test_network_when_built_then_its_tensors_are_those_of_the_published_file(
    build: Any, numbers: int, tensors: dict[str, tuple[int, ...]]
) -> None:
    shapes = on_meta(build)
    assert {name: shapes.get(name) for name in tensors} == tensors
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == numbers


def random_state(build: Any) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return {
        name: torch.randn(shape, generator=generator) / max(1, torch.Size(shape[1:]).numel()) ** 0.5
        for name, shape in on_meta(build).items()
    }


def test_files_when_read_then_make_maps_of_the_pictures_size(tmp_path: Path) -> None:
    """In the forms in which they are published: trained in parallel, inside of a checkpoint."""
    picture = np.random.default_rng(3).integers(0, 255, (70, 100, 3), np.uint8)
    for name, file, build, wraps in (
        ("pidinet", "table5_pidinet.pth", PidiNetwork, True),
        ("lineart", "sk_model.pth", DrawingNetwork, False),
        ("lineart_coarse", "sk_model2.safetensors", DrawingNetwork, False),
    ):
        state: dict[str, Any] = random_state(build)
        path = tmp_path / file
        if wraps:
            inside = {f"module.{n}": tensor for n, tensor in state.items()}
            torch.save({"epoch": 19, "state_dict": inside}, path)
        else:
            write_file(state, path)
        network = open_map_network(name, path, CPU)
        sizes: list[Any] = []
        network.model.register_forward_pre_hook(
            lambda module, args, sizes=sizes: sizes.append(tuple(args[0].shape))
        )
        preprocessor = {"pidinet": "softedge_pidinet", "lineart": "lineart_realistic"}
        made = map_maker(preprocessor.get(name, name), {name: network}.__getitem__)
        found = made(picture)
        assert found.shape == picture.shape and found.dtype == np.uint8
        assert found.std() > 0 and sizes == [(1, 3, 128, 128)]
        bare = {f"model0.{n}": t for n, t in state.items()}
        with pytest.raises(CheckpointError, match=path.stem):
            open_map_network(name, write_file(bare, tmp_path / "bad" / file), CPU)


def answering(kind: str, answer: Any) -> GreyMap:
    """A network of that kind whose answers are made by hand."""
    made = GreyMap.__new__(GreyMap)
    made._network, made._device, made.model = GREY_NETWORKS[kind], CPU, answer
    return made


def test_map_when_the_network_answers_then_is_white_on_black_in_its_place() -> None:
    picture = np.zeros((40, 90, 3), np.uint8)
    picture[10:14, 20:60] = (255, 0, 0)

    def red(values: torch.Tensor) -> torch.Tensor:
        return values[:, :1]  # the first channel is red, whatever the network is shown inside

    for kind in ("hed", "pidinet"):
        assert (answering(kind, red)(picture)[..., 1] == picture[..., 0]).all()
    dark = answering("drawing", lambda values: 1 - red(values))
    assert (dark(picture)[..., 2] == picture[..., 0]).all()
    seen: list[Any] = []

    def large(values: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(values.shape))
        return 1 - red(values)

    stretched = answering("anime_drawing", large)(picture)[..., 0]
    assert seen == [(1, 3, 256, 256)]
    assert np.abs(stretched.astype(int) - picture[..., 0]).mean() < 5


def test_hed_when_asked_then_is_the_mean_of_its_five_levels() -> None:
    network = HedNetwork().eval().requires_grad_(False)
    for weight in network.parameters():
        weight.zero_()
    for number, value in enumerate((1.0, 2.0, 3.0, 4.0, -5.0), 1):
        network.get_submodule(f"block{number}.projection").bias.fill_(value)  # type: ignore[union-attr]
    found = network(torch.rand(1, 3, 32, 48))
    assert found.shape == (1, 1, 32, 48)
    assert torch.allclose(found, torch.sigmoid(torch.tensor(1.0)))
    network.norm.fill_(255.0)  # what is shown is 0–255, less that
    first = network.get_submodule("block1")
    seen: list[torch.Tensor] = []
    first.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    network(torch.ones(1, 3, 16, 16))
    assert not seen[0].any()


RING = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
"""Around the middle, clockwise."""


@pytest.mark.parametrize(
    ("block", "pairs"),
    [
        ("block4_1", [(place, (0, 0), place) for place in RING]),
        ("block1_1", [(place, RING[(i + 1) % 8], place) for i, place in enumerate(RING)]),
        # the first of the nine weights is left out, the rest stand in rows
        ("block1_2", [((2 * down, 2 * across), (down, across), divmod(i + 1, 3))
                      for i, (down, across) in enumerate(sorted(RING))]),
    ],
    ids=["central", "angular", "radial"],
)  # fmt: skip
def test_pixel_differences_when_taken_then_are_those_of_their_kind(block: str, pairs: Any) -> None:
    """By their definition: of one pixel around the middle to another, times the weight."""
    patch = torch.rand(5, 5, generator=torch.Generator().manual_seed(2)).numpy()
    conv: Any = PidiNetwork().requires_grad_(False).get_submodule(f"{block}.conv1")
    conv.weight.copy_(torch.rand(conv.weight.shape, generator=torch.Generator().manual_seed(3)))
    weight, kernel = conv.weight[0, 0].numpy(), conv.kernel()[0, 0].numpy()
    reach = len(kernel) // 2
    found = (kernel * patch[2 - reach : 3 + reach, 2 - reach : 3 + reach]).sum()
    total = 0.0
    for plus, minus, place in pairs:
        row, column = place if block == "block1_2" else (1 + place[0], 1 + place[1])
        here, there = (patch[2 + down, 2 + across] for down, across in (plus, minus))
        total += weight[row, column] * (here - there)
    assert found == pytest.approx(total, abs=1e-5)


# What preprocessors do with soft edges


def test_steps_when_taken_then_three_greys_are_left() -> None:
    soft = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    found = in_steps(soft)[0, :, 0]
    assert sorted(set(found.tolist())) == [0, 127, 255]
    assert found[84] == 0 and found[85] == 127 and found[170] == 255 == found[255]


def test_scribble_when_an_edge_is_broad_then_is_one_even_stroke() -> None:
    soft = np.zeros((80, 120, 3), np.uint8)
    cv2.line(soft, (20, 40), (100, 40), (255, 255, 255), 9)
    cv2.line(soft, (10, 10), (10, 70), (60, 60, 60), 9)  # too faint
    found = scribbled(soft)
    assert set(np.unique(found)) == {0, 255}
    widths = (found[:, 40:80, 0] > 0).sum(axis=0)
    assert widths.min() == widths.max() and 9 < widths[0] < 27
    assert not found[:, :8].any()  # as wide as the line, and a stroke more
    assert map_maker("scribble_hed", lambda name: lambda picture: picture)(soft).any()


def test_names_when_told_then_are_those_of_the_extension() -> None:
    shorts = {"hed": "softedge_hed", "hed_safe": "softedge_hedsafe", "pidinet": "softedge_pidinet",
              "pidinet_safe": "softedge_pidisafe", "pidinet_scribble": "scribble_pidinet",
              "lineart": "lineart_realistic"}  # fmt: skip
    assert {short: BY_NAME[short].name for short in shorts} == shorts
