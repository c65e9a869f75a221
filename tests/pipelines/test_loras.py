"""LoRAs on their way into pictures, and out of the model again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.pipelines.conftest import Ear, Shelf, networks
from tests.pipelines.two_models import TwoModels
from webui.checkpoints.lora_file import read_lora
from webui.errors import CheckpointNotFoundError
from webui.networks.lora.applying import NetworkChange, changes_in, set_changes
from webui.networks.lora.files import LoraFile, read_layers
from webui.networks.lora.matching import match_layers, text_layers, unet_layers
from webui.params import Hires, Refiner, build
from webui.pipelines.conditioning import PromptEncoder
from webui.pipelines.runs import run_class

HEDGEHOG = Path(__file__).parents[2] / "models" / "Lora" / "starter-hedgehog.safetensors"
KEY = "ab" * 32
TAG = "<lora:starter-hedgehog:1>"
Paint = Callable[..., Any]


@pytest.fixture(scope="session")
def hedgehog() -> LoraFile:
    return read_lora(HEDGEHOG)


def weights(model: Any) -> dict[str, torch.Tensor]:
    """Copies of all weights of U-Net and text encoder; nothing is left unpacked by it."""
    networks = (model.unet, model.text_encoder)
    return {
        f"{i}.{k}": v.clone() for i, n in enumerate(networks) for k, v in n.state_dict().items()
    }


class Painter:
    """Paints small pictures of few steps; LoRAs come off after each, as in the model process."""

    def __init__(self, shelf: Shelf, files: dict[str, LoraFile]) -> None:
        self.shelf, self.files = shelf, files
        self.warnings: list[str] = []
        self.asked: list[str] = []

    def _file(self, name: str) -> LoraFile:
        self.asked.append(name)
        if name not in self.files:
            raise CheckpointNotFoundError(f"No LoRA named {name!r}.", "Put it there.")
        return self.files[name]

    def __call__(
        self, prompt: str = "a hedgehog", ear: Ear | None = None, kind: str = "txt2img", **v: Any
    ) -> np.ndarray:
        small = {"width": 64, "height": 64, "steps": 3, "seed": 1, "checkpoint": "first"}
        params = build(kind, {**small, "prompt": prompt, **v})
        ear = ear or Ear()
        self.shelf.networks = networks(ear.warn, self._file)
        try:
            run_class(params)(params, self.shelf, ear).paint()
        finally:
            self.shelf.networks.take_off()
        self.warnings = ear.warnings
        return np.stack([np.asarray(p.image, dtype=int) for p in ear.pictures])


@pytest.fixture
def paint(starter: Any, encoder: PromptEncoder, hedgehog: LoraFile) -> Iterator[Painter]:
    shelf = Shelf(starter, encoder, {KEY: Image.new("RGB", (64, 64), "green")})
    yield Painter(shelf, {"starter-hedgehog": hedgehog})


def differs(one: np.ndarray, other: np.ndarray) -> bool:
    return float(np.abs(one - other).mean()) > 2


def test_lora_when_in_the_prompt_changes_the_picture_and_only_that_one(
    paint: Painter, starter: Any
) -> None:
    plain, before = paint(), weights(starter)
    changed = paint(f"a hedgehog {TAG}")

    assert differs(plain, changed) and paint.warnings == []
    after = weights(starter)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert np.array_equal(paint(), plain)


def test_lora_when_its_weight_is_zero_changes_nothing(paint: Painter) -> None:
    assert np.array_equal(paint("a hedgehog <lora:starter-hedgehog:0>"), paint())


def test_lora_when_extra_networks_are_off_changes_nothing(paint: Painter) -> None:
    found = paint(f"a hedgehog {TAG}", disable_extra_networks=True)

    assert np.array_equal(found, paint()) and paint.asked == []


def test_lora_when_its_weights_differ_acts_on_both_networks_apart(paint: Painter) -> None:
    plain, both = paint(), paint(f"a hedgehog {TAG}")
    text = paint("a hedgehog <lora:starter-hedgehog:1:0>")
    unet = paint("a hedgehog <lora:starter-hedgehog:te=0:unet=1>")

    pictures = (plain, both, text, unet)
    assert all(not np.array_equal(a, b) for i, a in enumerate(pictures) for b in pictures[:i])


def test_lora_when_the_rank_is_limited_acts_less(paint: Painter) -> None:
    limited = paint("a hedgehog <lora:starter-hedgehog:1:dyn=2>")

    assert not np.array_equal(limited, paint(f"a hedgehog {TAG}"))
    assert not np.array_equal(limited, paint())
    assert np.array_equal(paint("a hedgehog <lora:starter-hedgehog:1:dyn=0>"), paint())


def test_lora_when_tagged_twice_counts_twice_with_the_last_weight(paint: Painter) -> None:
    twice = paint("a hedgehog <lora:starter-hedgehog:0.9><lora:starter-hedgehog:0.4>")
    once = paint("a hedgehog <lora:starter-hedgehog:0.8>")

    assert np.abs(twice - once).max() <= 2  # sums in another order
    assert paint.asked == ["starter-hedgehog"] * 2


def test_lora_when_it_acts_in_some_steps_only_makes_another_picture(paint: Painter) -> None:
    def unet(how: str) -> np.ndarray:
        return paint(f"a hedgehog <lora:starter-hedgehog:te=0:unet=1{how}>", steps=4)

    always, never = unet(""), paint(steps=4)
    first, last = unet(":stop=2"), unet(":start=2")

    assert np.array_equal(unet(":start=0:stop=4"), always)
    assert np.array_equal(unet(":stop=0"), never) and np.array_equal(unet(":start=4"), never)
    assert np.array_equal(unet(":step=2-4"), last)
    pictures = (always, never, first, last)
    assert all(not np.array_equal(a, b) for i, a in enumerate(pictures) for b in pictures[:i])


def test_lora_when_it_begins_late_acts_in_the_network_calls_from_then_on(
    paint: Painter, starter: Any
) -> None:
    seen = []
    layer = starter.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q

    def look(module: Any, inputs: Any) -> None:
        seen.append(bool(changes_in(starter.unet)))

    handle = layer.register_forward_pre_hook(look)
    try:
        paint("a hedgehog <lora:starter-hedgehog:1:step=1-3>", steps=4, sampler="Euler")
    finally:
        handle.remove()

    assert seen == [False, True, True, False]


def test_lora_when_blocks_are_chosen_acts_in_those_alone(paint: Painter) -> None:
    def lbw(blocks: str) -> np.ndarray:
        return paint(f"a hedgehog <lora:starter-hedgehog:1:lbw={blocks}>")

    everything, nothing = paint(f"a hedgehog {TAG}"), paint()
    some = [lbw("INALL"), lbw("OUTALL"), lbw(",".join("1" + "0" * 16))]

    assert np.array_equal(lbw(",".join("1" * 26)), everything)
    assert np.array_equal(lbw("NONE"), nothing)
    pictures = (everything, nothing, *some)
    assert all(not np.array_equal(a, b) for i, a in enumerate(pictures) for b in pictures[:i])
    assert np.array_equal(lbw("NEVER"), nothing) and "NEVER" in paint.warnings[0]


def test_merged_weights_give_what_calculating_beside_them_gives(
    paint: Painter, starter: Any, tokenizer: Any, hedgehog: LoraFile
) -> None:
    merged = paint(f"a hedgehog {TAG}", negative_prompt="grey 4711")
    handles = []
    names = starter.extras["lora_tables"]
    for network, module in (("unet", starter.unet), ("text_encoder", starter.text_encoder)):
        for name, change in hedgehog.layers.items():
            if (path := names[network].names.get(name)) is not None:
                low: Any = change.weight
                handles.append(module.get_submodule(path).register_forward_hook(beside(low)))
    try:
        paint.shelf.prompt_encoder = PromptEncoder(starter, tokenizer)  # remembers nothing
        calculated = paint("a hedgehog", negative_prompt="grey 4711")
    finally:
        for handle in handles:
            handle.remove()
    assert np.abs(merged - calculated).max() <= 1


@pytest.mark.parametrize("name", ["unet", "text_encoder"])
def test_merged_network_answers_within_a_thousandth_of_calculating_beside_it(
    starter: Any, hedgehog: LoraFile, name: str
) -> None:
    network = getattr(starter, name)
    table = (unet_layers if name == "unet" else text_layers)(network)
    layers = match_layers(hedgehog, {name: table}).layers[name]

    def answer() -> torch.Tensor:
        with torch.inference_mode():
            if name == "text_encoder":
                return network(torch.arange(77)[None]).last_hidden_state.clone()
            generator = torch.Generator().manual_seed(0)
            inputs = [
                torch.randn(shape, generator=generator) for shape in ((2, 4, 8, 8), (2, 77, 128))
            ]
            return network(inputs[0], torch.tensor([500]), inputs[1]).sample.clone()

    plain = answer()
    set_changes(network, [NetworkChange("hedgehog", layers, 1.0)])
    try:
        merged = answer()
    finally:
        set_changes(network, [])
    handles = [
        network.get_submodule(path).register_forward_hook(beside(change.weight))
        for path, change in layers.items()
    ]
    try:
        calculated = answer()
    finally:
        for handle in handles:
            handle.remove()

    assert float((merged - plain).abs().max()) > 0.1
    assert float((merged - calculated).abs().max()) <= 1e-3
    assert torch.equal(answer(), plain)


def beside(low: Any) -> Any:
    up, down = low.up.float().flatten(1), low.down.float().flatten(1)

    def add(layer: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        if isinstance(layer, torch.nn.Conv2d):
            kernel = (up @ down).reshape(up.shape[0], *low.down.shape[1:])
            added = torch.nn.functional.conv2d(inputs[0], kernel)
        else:
            added = inputs[0] @ down.T @ up.T
        return output + added * low.factor

    return add


def test_hires_prompt_when_it_names_a_lora_has_it_in_the_second_pass_only(paint: Painter) -> None:
    def both(first: str, second: str) -> np.ndarray:
        hires = Hires(scale=2, steps=2, denoising_strength=0.7, prompt=second)
        return paint(first, width=64, height=64, hires=hires)

    plain = both("a hedgehog", "a hedgehog")
    second = both("a hedgehog", f"a hedgehog {TAG}")
    first = both(f"a hedgehog {TAG}", "a hedgehog")
    same = both(f"a hedgehog {TAG}", "")

    pictures = (plain, second, first, same)
    assert all(not np.array_equal(a, b) for i, a in enumerate(pictures) for b in pictures[:i])


def test_refiner_when_it_takes_over_wears_the_lora_too(
    starter: Any, bent_model: Any, tokenizer: Any, hedgehog: LoraFile
) -> None:
    encoders = {id(m): PromptEncoder(m, tokenizer) for m in (starter, bent_model)}
    shelf = TwoModels(starter, encoders[id(starter)], {}, bent_model, [], encoders)
    paint = Painter(shelf, {"starter-hedgehog": hedgehog})
    refiner = Refiner(checkpoint="other", switch_at=0.0, by_steps=True)
    before = weights(bent_model)

    plain = paint(refiner=refiner)
    changed = paint(f"a hedgehog {TAG}", refiner=refiner)

    assert differs(plain, changed)
    after = weights(bent_model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_image_to_image_wears_the_lora(paint: Painter) -> None:
    given = {"kind": "img2img", "init_images": (KEY,), "denoising_strength": 0.9}

    assert not np.array_equal(paint(f"a hedgehog {TAG}", **given), paint(**given))


def test_batches_when_several_all_wear_the_lora(paint: Painter) -> None:
    one = paint(f"a hedgehog {TAG}", seed=2)
    many = paint(f"a hedgehog {TAG}", seed=1, batch_count=2)

    assert np.array_equal(many[1], one[0])


@pytest.mark.parametrize("stops", [True, False])
def test_model_when_painting_ends_early_is_as_it_was(
    paint: Painter, starter: Any, stops: bool
) -> None:
    plain, before = paint(), weights(starter)

    def end(ear: Ear) -> bool:
        if ear.previews and not stops:
            raise ZeroDivisionError
        return bool(ear.previews)

    if stops:
        paint(f"a hedgehog {TAG}", ear=Ear(stop_after=end), steps=6)
    else:
        with pytest.raises(ZeroDivisionError):
            paint(f"a hedgehog {TAG}", ear=Ear(stop_after=end), steps=6)

    after = weights(starter)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert np.array_equal(paint(), plain)


def file_of(tensors: Mapping[str, torch.Tensor], family: str = "") -> LoraFile:
    return read_layers(tensors, key=str(sorted(tensors)), name="other", family=family)


def halves(name: str, out: int, inputs: int) -> dict[str, torch.Tensor]:
    return {
        f"{name}.lora_up.weight": torch.ones(out, 2),
        f"{name}.lora_down.weight": torch.ones(2, inputs),
    }


FITTING = halves("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 128, 128)
TOO_WIDE = halves("lora_te_text_model_encoder_layers_1_self_attn_q_proj", 1024, 1024)
NOWHERE = halves("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", 1280, 1280)


@pytest.mark.parametrize(
    ("tensors", "family", "words", "acts"),
    [
        (NOWHERE, "sdxl", ("was not applied", "0 of its 1", "made for SDXL"), False),
        (NOWHERE, "", ("was not applied", "0 of its 1"), False),
        ({**FITTING, **TOO_WIDE}, "sd2", ("was not applied", "1 of its 2", "SD 2.x"), False),
        ({**FITTING, **TOO_WIDE}, "", ("1 of 2 layers", "layers_1_self_attn_q_proj"), True),
        ({**FITTING, "odd": torch.ones(1)}, "sd1", ("1 of 1 layers", "odd"), True),
        ({**FITTING, "bundle_emb.glow.clip_l": torch.ones(1, 128)}, "", ("glow",), True),
        (FITTING, "sdxl", (), True),
    ],
)
def test_lora_when_it_does_not_fit_whole_is_told_about(
    paint: Painter, tensors: Any, family: str, words: tuple[str, ...], acts: bool
) -> None:
    paint.files["other"] = file_of(tensors, family)
    found = paint("a hedgehog <lora:other:0.01>", batch_count=2)

    assert len(paint.warnings) == bool(words)
    assert all(word in paint.warnings[0] for word in words)
    assert np.array_equal(found[:1], paint()) != acts


def test_tags_when_they_cannot_be_followed_are_told_about_and_the_others_count(
    paint: Painter,
) -> None:
    good = paint(f"a hedgehog {TAG}")
    found = paint(f"a hedgehog <lora:nowhere:1> <lora:starter-hedgehog:x> {TAG} <hypernet:oil:1>")

    assert np.array_equal(found, good)
    assert all(
        any(word in w for w in paint.warnings) for word in ("nowhere", "'x'", "hypernet:oil")
    )
    assert len(paint.warnings) == 3
