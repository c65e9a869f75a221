"""Files that the tools write: our own loader, spandrel and other programs' key names open them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import spandrel
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tests.conftest import STARTER
from tools.starter.companions.files import write_companion
from tools.starter.companions.inversion import VECTORS, train_inversion, with_vectors
from tools.starter.companions.lora import (
    apply_lora,
    insert_adapters,
    lora_tensors,
    train_lora,
)
from tools.starter.companions.tiny_decoder import WIDTH, taesd_tensors
from tools.starter.companions.upscaler import CompactUpscaler, halved, lanczos
from tools.starter.concepts import read_concepts
from tools.starter.drawings import Sprites
from tools.starter.evaluate import questions, table
from tools.starter.export import export
from tools.starter.judge import Judge, background_colour, judged
from tools.starter.networks import Starter, from_checkpoint
from tools.starter.painting import Painter, sheet
from tools.starter.scenes import is_held_out
from webui.checkpoints.load import load_checkpoint
from webui.networks.preview_decoders import TaesdDecoder, build_decoder
from webui.prompts.chinese.dictionary import our_words
from webui.prompts.chinese.translate import translate

MODELS = STARTER.parent.parent


def test_export_when_opened_by_our_loader_then_it_paints(networks: Starter, tmp_path: Path) -> None:
    file = tmp_path / "new.safetensors"
    assert networks.vae is not None
    export(networks, networks.vae, file, size=128, facts="2 steps")
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    assert "Microsoft" in metadata["modelspec.license"] and metadata["training"] == "2 steps"
    painter = Painter(load_checkpoint(file), size=64)
    pictures = painter.paint(["a cat", "a dog"], [1, 2])
    assert pictures.shape == (2, 3, 64, 64)
    assert sheet(pictures, 2).size == (128, 64)
    assert torch.allclose(pictures[1], painter.paint(["a dog"], [2])[0], atol=1e-3)


def test_export_of_the_shipped_starter_is_the_shipped_starter(tmp_path: Path) -> None:
    networks = from_checkpoint(STARTER)
    assert networks.vae is not None
    export(networks, networks.vae, tmp_path / "again.safetensors", size=128, facts="")
    again, shipped = load_file(tmp_path / "again.safetensors"), load_file(STARTER)
    assert again.keys() == shipped.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in shipped.items())


def test_lora_when_applied_from_its_file_then_equals_the_adapters(networks: Starter) -> None:
    plain = {name: t.clone() for name, t in networks.unet.state_dict().items()}
    words = {name: t.clone() for name, t in networks.text.state_dict().items()}
    adapters = insert_adapters(networks, rank=2)
    for index, adapter in enumerate(adapters.values()):
        torch.nn.init.normal_(
            adapter.up.weight, std=0.05, generator=torch.Generator().manual_seed(index)
        )
    noisy, tokens = torch.randn(2, 4, 8, 8), torch.tensor([[49406, 320, 49407]] * 2)
    step = torch.tensor([10, 900])
    with torch.no_grad():
        wanted = networks.unet(noisy, step, networks.text(tokens)).sample
    tensors = lora_tensors(adapters)

    fresh = networks_like(plain, words)
    assert apply_lora(fresh, tensors) == len(adapters)
    with torch.no_grad():
        found = fresh.unet(noisy, step, fresh.text(tokens)).sample
        fresh_without = networks_like(plain, words)
        without = fresh_without.unet(noisy, step, fresh_without.text(tokens)).sample
    assert torch.allclose(found, wanted, atol=2e-3)
    assert not torch.allclose(without, wanted, atol=2e-2)


def networks_like(unet: dict[str, torch.Tensor], text: dict[str, torch.Tensor]) -> Starter:
    from tools.starter.networks import PROFILES, Text, build_unet

    made = Starter(
        build_unet(PROFILES["tiny"]), Text.fresh(PROFILES["tiny"], list(range(200, 700)))
    )
    made.unet.load_state_dict(unet)
    made.text.load_state_dict(text)
    return made


def test_train_lora_changes_only_the_adapters(networks: Starter, sprites: Sprites) -> None:
    assert networks.vae is not None
    before = networks.unet.conv_in.weight.clone()
    adapters = train_lora(networks, networks.vae, sprites, sprites.concepts[0], steps=2, batch=2)
    assert torch.equal(before, networks.unet.conv_in.weight)
    assert all(adapter.up.weight.abs().max() > 0 for adapter in adapters.values())


def test_train_inversion_moves_the_vectors(networks: Starter, sprites: Sprites) -> None:
    assert networks.vae is not None
    vectors = train_inversion(networks, networks.vae, sprites, steps=2, batch=2)
    assert vectors.shape == (VECTORS, 64) and not vectors.requires_grad
    put = with_vectors(torch.zeros(1, 8, 64), vectors, [3])
    assert torch.equal(put[0, 3:5], vectors) and put[0, :3].abs().max() == 0
    assert put.shape == (1, 8, 64)


def test_upscaler_is_recognised_by_spandrel_and_doubles() -> None:
    torch.manual_seed(0)
    ours, small = CompactUpscaler(), torch.rand(1, 3, 12, 10)
    theirs = spandrel.ModelLoader().load_from_state_dict(ours.state_dict())
    assert theirs.scale == 2 and theirs.architecture.name == "RealESRGAN Compact"
    with torch.no_grad():
        assert torch.equal(theirs(small), ours(small).clamp(0, 1))
    assert halved(small).shape == (1, 3, 6, 5)
    assert lanczos(small).shape == (1, 3, 24, 20)


def test_tiny_decoder_has_taesds_names() -> None:
    names = list(taesd_tensors(TaesdDecoder(width=WIDTH)))
    assert names[:2] == ["1.weight", "1.bias"] and names[-1] == "19.bias"
    assert "7.weight" in names and "7.bias" not in names
    assert "3.conv.0.weight" in names and "18.conv.4.bias" in names


def test_questions_are_held_out_pairs_with_their_own_seeds() -> None:
    asked = questions(read_concepts(), ("left", "right"), 40)
    assert all(is_held_out(q.concept.name, q.colour) for q in asked)
    assert [q.seed for q in asked] == list(range(1000, 1040))
    assert "on the left" in asked[0].prompt and "on the right" in asked[1].prompt


def test_judge_looks_at_any_size_and_names_the_border_colour() -> None:
    pixels = torch.full((2, 3, 128, 128), -1.0)
    pixels[1] = torch.tensor([245, 145, 40])[:, None, None] / 127.5 - 1
    pixels[:, :, 30:90, 30:90] = 1
    assert background_colour(pixels) == ["black", "orange"]
    subjects, places = judged(Judge(7).eval(), pixels)
    assert subjects.shape == (2, 5) and places.shape == (2,)


def test_table_shows_every_figure_beside_the_classifiers_own() -> None:
    part = {"pictures": 96, "subject": 0.5, "subject among five": 0.75, "background": 0.99}
    part["arrangement"] = 0.625
    figures = {"vae_db": 28.8, "seconds": 1.14, "threads": 2}
    for name in ("subject", "count", "place"):
        figures |= {name: part, f"{name} in renders": {**part, "subject": 0.995}}
    shown = table(figures)
    assert "| subject recognised | 50.0% | 99.5% | ≥ 95% | 96, 1000–1095 |" in shown
    assert "28.8 dB" in shown and "62.5%" in shown


# What ships


def shipped(pattern: str) -> list[Path]:
    return sorted(MODELS.glob(pattern))


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("Lora/starter-*.safetensors", {"lora_unet_mid_block_attentions_0_proj_in.alpha"}),
        ("embeddings/*.safetensors", {"emb_params"}),
        ("VAE-approx/taesd_starter_decoder.safetensors", {"1.weight", "19.bias"}),
        ("ESRGAN/starter-2x-flat.safetensors", {"body.0.weight"}),
    ],
)
def test_companion_says_what_it_is_and_under_which_licence(pattern: str, keys: set[str]) -> None:
    (file,) = shipped(pattern)
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
        assert keys <= set(opened.keys())
    assert "MIT" in metadata["licence"] and metadata["what"]
    assert file.stat().st_size < 4_000_000


def test_companion_when_written_is_fp16_and_says_what_it_is(tmp_path: Path) -> None:
    file, weights = tmp_path / "made.safetensors", torch.arange(6.0).reshape(2, 3)
    write_companion(file, {"a.weight": weights.T}, "Doubles the size", figures="41 dB")
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
        written = opened.get_tensor("a.weight")
    assert written.dtype == torch.float16 and torch.equal(written.float(), weights.T)
    assert (metadata["what"], metadata["figures"]) == ("Doubles the size", "41 dB")
    assert "MIT" in metadata["licence"] and metadata["format"] == "pt"


def test_shipped_lora_fits_the_shipped_starter() -> None:
    (file,) = shipped("Lora/starter-*.safetensors")
    tensors = load_file(file)
    assert apply_lora(from_checkpoint(STARTER), tensors) == len(tensors) // 3


def test_shipped_embedding_is_as_wide_as_the_text_encoder() -> None:
    (file,) = shipped("embeddings/*.safetensors")
    width = from_checkpoint(STARTER).text.clip.config.hidden_size
    assert load_file(file)["emb_params"].shape == (VECTORS, width)


def test_shipped_tiny_decoder_shows_what_the_full_one_shows() -> None:
    file = MODELS / "VAE-approx/taesd_starter_decoder.safetensors"
    decoder = build_decoder(load_file(file)).float()
    model = load_checkpoint(STARTER)
    painter = Painter(model)
    latents = painter.latents(["a red heart on a white background"], [1])
    full = painter.decode(latents)
    with torch.no_grad():
        tiny = decoder(latents)
    assert (full - tiny).abs().mean() < 0.1


def test_prompt_ideas_are_words_the_starter_was_trained_on() -> None:
    facts = json.loads(STARTER.with_suffix(".json").read_text("utf-8"))
    words = {word for concept in read_concepts() for word in concept.words}
    assert facts["words"]["subjects"] == [concept.word for concept in read_concepts()]
    assert len(facts["prompt ideas"]) >= 12
    for idea in facts["prompt ideas"]:
        assert any(word in idea for word in words), idea
    assert len(facts["prompt ideas zh"]) == len(facts["prompt ideas"])
    for idea in facts["prompt ideas zh"]:
        told = translate(idea, our_words())
        assert told.unknown == () and any(word in told.text for word in words), idea


def test_card_names_the_licence_and_every_word() -> None:
    card = STARTER.with_suffix(".md").read_text("utf-8")
    assert "Copyright (c) Microsoft Corporation" in card and "MIT" in card
    assert all(concept.word in card for concept in read_concepts())
