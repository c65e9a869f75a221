"""Prompts are encoded as asked, and an unchanged prompt never twice."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from webui.pipelines import conditioning
from webui.pipelines.conditioning import PassFacts, PromptEncoder
from webui.prompts.read import read_prompt


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    real = conditioning.encode_chunks

    def counting(text_encoder: Any, prompts: Any, **more: Any) -> Any:
        calls.append(len(prompts))
        return real(text_encoder, prompts, **more)

    monkeypatch.setattr(conditioning, "encode_chunks", counting)
    return calls


def encode(encoder: PromptEncoder, prompt: str, negative: str = "", **more: Any) -> Any:
    return encoder.encode(read_prompt(prompt, negative, steps=10), PassFacts(64, 64, **more))


def test_unchanged_prompt_when_encoded_again_is_remembered(
    encoder: PromptEncoder, counted: list[int]
) -> None:
    first = encode(encoder, "a red apple", "blurry")
    second = encode(encoder, "a red apple", "blurry")

    assert counted == [1, 1]  # positive and negative, once each
    assert first.positive[0][1].at(0) is second.positive[0][1].at(0)


def test_prompt_when_clip_skip_changes_is_encoded_again(
    encoder: PromptEncoder, counted: list[int]
) -> None:
    one = encode(encoder, "a red apple").negative.at(0)
    two = encode(encoder, "a red apple", clip_skip=2).negative.at(0)

    assert len(counted) == 4
    assert not torch.equal(one.states, two.states)


def test_scheduled_prompt_when_encoded_has_its_variants_in_one_call(
    encoder: PromptEncoder, counted: list[int]
) -> None:
    cond = encode(encoder, "a [red:blue:5] apple")

    assert counted[0] == 2
    assert not torch.equal(cond.positive[0][1].at(5).states, cond.positive[0][1].at(6).states)


def test_and_when_both_sides_are_equal_is_encoded_once(
    encoder: PromptEncoder, counted: list[int]
) -> None:
    encode(encoder, "a cat AND a cat", "a cat")

    assert len(counted) == 2  # "a cat" and " a cat"
