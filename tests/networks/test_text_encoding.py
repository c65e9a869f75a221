"""Prompt-weighted encoding against transformers run directly."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from webui.errors import ParamsError
from webui.networks.text_encoding import EMPTY_CHUNK, encode_chunks


@dataclass
class Chunk:
    tokens: list[int]
    weights: list[float] = field(default_factory=lambda: [1.0] * 77)
    embeddings: list[tuple[int, str]] = field(default_factory=list)


@pytest.fixture(scope="module")
def encoder() -> CLIPTextModel:
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=32, intermediate_size=64, num_hidden_layers=4,
        num_attention_heads=2, max_position_embeddings=77, eos_token_id=49407,
        bos_token_id=49406,
    )  # fmt: skip
    model = CLIPTextModel(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def chunk(*words: int, weights: dict[int, float] | None = None) -> Chunk:
    tokens = [49406, *words] + [49407] * (76 - len(words))
    return Chunk(tokens, [(weights or {}).get(i, 1.0) for i in range(77)])


def direct(encoder: CLIPTextModel, *chunks: Chunk, clip_skip: int = 1) -> Tensor:
    output = encoder(
        torch.tensor([c.tokens for c in chunks]), output_hidden_states=True, return_dict=True
    )
    if clip_skip == 1:
        return output.last_hidden_state
    return encoder.final_layer_norm(output.hidden_states[-clip_skip])


def test_plain_prompts_equal_transformers(encoder: CLIPTextModel) -> None:
    one, other = chunk(320, 1125), chunk(2368)
    found = encode_chunks(encoder, [[one], [other]]).states
    assert found.shape == (2, 77, 32)
    assert torch.equal(found, direct(encoder, one, other))


@pytest.mark.parametrize("clip_skip", [1, 2, 3, 4])
def test_clip_skip_counts_layers_from_the_end(encoder: CLIPTextModel, clip_skip: int) -> None:
    found = encode_chunks(encoder, [[chunk(320, 5)]], clip_skip=clip_skip).states
    assert torch.equal(found, direct(encoder, chunk(320, 5), clip_skip=clip_skip))
    # and independently of output_hidden_states: run fewer layers
    layers = encoder.encoder.layers
    try:
        encoder.encoder.layers = layers[: 5 - clip_skip]
        shortened = direct(encoder, chunk(320, 5))
    finally:
        encoder.encoder.layers = layers
    assert torch.allclose(found, shortened, atol=1e-6)


def test_chunks_are_encoded_separately_and_joined(encoder: CLIPTextModel) -> None:
    first, second = chunk(1, 2, 3), chunk(4)
    found = encode_chunks(encoder, [[first, second]]).states
    assert torch.allclose(found[:, :77], direct(encoder, first), atol=1e-6)
    assert torch.allclose(found[:, 77:], direct(encoder, second), atol=1e-6)


def test_shorter_prompts_are_padded_with_empty_chunks(encoder: CLIPTextModel) -> None:
    found = encode_chunks(encoder, [[chunk(1), chunk(2)], [chunk(3)], []]).states
    assert found.shape == (3, 154, 32)
    empty = direct(encoder, chunk())
    assert list(EMPTY_CHUNK.tokens) == chunk().tokens
    assert torch.allclose(found[1, 77:], empty[0], atol=1e-6)
    assert torch.allclose(found[2], torch.cat([empty, empty], dim=1)[0], atol=1e-6)


def test_original_emphasis_restores_one_mean_over_the_whole_call(encoder: CLIPTextModel) -> None:
    heavy, light = chunk(320, 9, weights={1: 1.5, 2: 0.3}), chunk(8)
    plain = direct(encoder, heavy, light)
    weighted = plain * torch.tensor([heavy.weights, light.weights]).unsqueeze(-1)
    wanted = weighted * (plain.mean() / weighted.mean())
    found = encode_chunks(encoder, [[heavy], [light]], emphasis="Original").states
    assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-6)
    alone = encode_chunks(encoder, [[heavy]], emphasis="Original").states
    assert not torch.allclose(alone[0], found[0], rtol=1e-4)  # the other prompt takes part


@pytest.mark.parametrize("mode", ["No norm", "Ignore", "None"])
def test_other_emphasis_modes(encoder: CLIPTextModel, mode: str) -> None:
    heavy = chunk(320, 9, weights={1: 1.5, 2: -0.3})
    plain = direct(encoder, heavy)
    factor = torch.tensor(heavy.weights).view(1, 77, 1) if mode == "No norm" else 1.0
    assert torch.allclose(encode_chunks(encoder, [[heavy]], emphasis=mode).states, plain * factor)


def test_embedding_vectors_take_the_place_of_tokens(encoder: CLIPTextModel) -> None:
    table = encoder.embeddings.token_embedding.weight
    vectors = table[[777, 778]].clone()
    placeholder = chunk(320, 0, 0, 5)
    placeholder.embeddings = [(2, "cat")]
    found = encode_chunks(encoder, [[chunk(9)], [placeholder]], embeddings={"cat": vectors}).states
    wanted = direct(encoder, chunk(9), chunk(320, 777, 778, 5))
    assert torch.allclose(found, wanted, atol=1e-6)
    after = encode_chunks(encoder, [[chunk(320, 0, 0, 5)]]).states
    assert torch.allclose(after, direct(encoder, chunk(320, 0, 0, 5)), atol=1e-6)


def test_embedding_that_is_not_there_leaves_the_placeholder(encoder: CLIPTextModel) -> None:
    placeholder = chunk(320, 0)
    placeholder.embeddings = [(2, "gone")]
    assert torch.equal(
        encode_chunks(encoder, [[placeholder]]).states, direct(encoder, chunk(320, 0))
    )


def test_embedding_never_covers_the_end_token(encoder: CLIPTextModel) -> None:
    table = encoder.embeddings.token_embedding.weight
    placeholder = chunk(*range(1, 76))
    placeholder.embeddings = [(74, "long")]
    found = encode_chunks(
        encoder, [[placeholder]], embeddings={"long": table[[1, 2, 3, 4, 5]]}
    ).states
    wanted = direct(encoder, chunk(*range(1, 74), 1, 2))
    assert torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("clip_skip", [0, -1, 5, 12])
def test_clip_skip_out_of_range_is_refused(encoder: CLIPTextModel, clip_skip: int) -> None:
    with pytest.raises(ParamsError, match="4 layers") as caught:
        encode_chunks(encoder, [[chunk(1)]], clip_skip=clip_skip)
    assert caught.value.field == "clip_skip"


def test_unknown_emphasis_is_refused(encoder: CLIPTextModel) -> None:
    with pytest.raises(ParamsError, match="'Loud'"):
        encode_chunks(encoder, [[chunk(1)]], emphasis="Loud")


def test_half_precision_weights_keep_their_dtype(encoder: CLIPTextModel) -> None:
    import copy

    brain = copy.deepcopy(encoder).to(torch.bfloat16)
    found = encode_chunks(brain, [[chunk(320, weights={1: 1.3})]]).states
    assert found.dtype == torch.bfloat16
    wanted = encode_chunks(encoder, [[chunk(320, weights={1: 1.3})]]).states
    assert (found.float() - wanted).abs().max() < 0.15
