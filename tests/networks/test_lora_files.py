"""Tensors of a file sorted by layer, whoever wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from webui.networks.lora.changes import Directed, Kronecker, LowRank
from webui.networks.lora.files import LoraFile, read_layers
from webui.networks.lora.matching import match_layers, text_layers, unet_layers

R = 2


def some(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def read(tensors: Mapping[str, Tensor], **given: Any) -> LoraFile:
    return read_layers(tensors, key="k", name="n", **given)


def factor(file: LoraFile) -> float:
    (change,) = file.layers.values()
    assert isinstance(change.weight, LowRank)
    return change.weight.factor


@pytest.mark.parametrize(
    ("up", "down", "layer"),
    [
        ("lora_unet_x_y.lora_up.weight", "lora_unet_x_y.lora_down.weight", "lora_unet_x_y"),
        ("unet.x.y.lora.up.weight", "unet.x.y.lora.down.weight", "unet_x_y"),
        ("unet.x.y.lora_B.weight", "unet.x.y.lora_A.weight", "unet_x_y"),
        ("unet.x.y.lora_B.default.weight", "unet.x.y.lora_A.default.weight", "unet_x_y"),
        ("unet.a.processor.to_q_lora.up.weight", "unet.a.processor.to_q_lora.down.weight",
         "unet_a_to_q"),
        ("text_encoder.q_proj.lora_linear_layer.up.weight",
         "text_encoder.q_proj.lora_linear_layer.down.weight", "text_encoder_q_proj"),
    ],
)  # fmt: skip
def test_names_of_the_two_halves_are_read_whoever_wrote_them(
    up: str, down: str, layer: str
) -> None:
    file = read({up: some(4, R), down: some(R, 3)})

    assert list(file.layers) == [layer] and file.unknown == ()
    change = file.layers[layer].weight
    assert isinstance(change, LowRank) and change.up.shape == (4, R)


def test_file_when_formats_are_mixed_is_read_layer_by_layer() -> None:
    file = read(
        {
            "lora_unet_a.lora_up.weight": some(4, R), "lora_unet_a.lora_down.weight": some(R, 3),
            "lora_unet_a.dora_scale": some(4, 1), "lora_unet_b.lokr_w1": some(2, 2),
            "lora_unet_b.lokr_w2": some(2, 2), "lora_unet_b.alpha": torch.tensor(1.0),
            "lora_unet_c.weight": some(4, 4), "strange": some(1),
            "bundle_emb.glow.clip_l": some(2, 8), "bundle_emb.glow.clip_g": some(2, 8),
            "bundle_emb.dim.string_to_param.*": some(2, 8),
        }
    )  # fmt: skip

    kinds = {name: type(change.weight) for name, change in file.layers.items()}
    assert kinds == {"lora_unet_a": Directed, "lora_unet_b": Kronecker}
    assert set(file.unknown) == {"lora_unet_c.weight", "strange"}
    assert file.embeddings == ("glow", "dim")


HALVES = {"unet.a.lora_A.weight": some(4, 3), "unet.a.lora_B.weight": some(5, 4)}


@pytest.mark.parametrize(
    ("stated", "wanted"),
    [
        ({}, 1.0),
        ({"unet.lora_alpha": 2, "unet.r": 4}, 0.5),
        ({"unet.lora_alpha": 2, "unet.use_rslora": True}, 1.0),
        ({"unet.lora_alpha": 2, "unet.alpha_pattern": {"a": 8}}, 2.0),
        ({"text_encoder.lora_alpha": 2}, 1.0),
    ],
)
def test_alpha_when_peft_states_it_in_the_header_counts(
    stated: dict[str, Any], wanted: float
) -> None:
    assert factor(read(HALVES, metadata={"lora_adapter_metadata": json.dumps(stated)})) == wanted


def test_alpha_when_peft_states_it_beside_the_file_counts() -> None:
    assert factor(read(HALVES, adapter_config={"lora_alpha": 8, "r": 4})) == 2.0
    assert factor(read({**HALVES, "unet.a.alpha": torch.tensor(1.0)},
                       adapter_config={"lora_alpha": 8})) == 0.25  # fmt: skip


@pytest.mark.parametrize("text", ["no json", "[1]", '{"unet.lora_alpha": "x"}'])
def test_header_when_its_statement_is_nonsense_is_passed_over(text: str) -> None:
    assert factor(read(HALVES, metadata={"lora_adapter_metadata": text})) == 1.0


def test_match_counts_what_fits_what_does_not_and_what_is_unknown() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down_blocks = nn.ModuleList([nn.Linear(3, 4)])
            self.conv_in = nn.Conv2d(3, 4, 3)

    class Text(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(3, 4)

    file = read(
        {
            "lora_unet_down_blocks_0.diff": some(4, 3), "lora_unet_conv_in.diff": some(4, 2, 3, 3),
            "lora_unet_nowhere.diff": some(4, 3), "lora_te_text_model_encoder.diff": some(4, 3),
            "lora_te1_text_model_encoder.diff": some(4, 3),
        }
    )  # fmt: skip
    match = match_layers(file, {"unet": unet_layers(Both()), "text": text_layers(Text())})

    assert list(match.layers["unet"]) == ["down_blocks.0"]
    assert list(match.layers["text"]) == ["encoder"]
    assert match.strangers == ("lora_unet_nowhere",)
    assert match.unfit == ("lora_unet_conv_in", "lora_te1_text_model_encoder")
    assert (match.applied, match.total) == (2, 5)
