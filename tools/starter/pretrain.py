"""The text encoder alone, before the U-Net: its outputs learn to name what a caption says.

Two minutes of this are worth many thousand pictures: the U-Net then meets contexts that tell
subjects, colours and layouts apart from its first step on.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.starter.captions import caption
from tools.starter.concepts import COLOURS, HUES, SCENES, Concept
from tools.starter.networks import END, Text
from tools.starter.pools import LAYOUTS, padded
from tools.starter.scenes import Scene, sample_scene
from webui.prompts.tokenizer import ClipTokenizer

logger = logging.getLogger(__name__)

_BACKGROUNDS: Final = ("", *COLOURS, *SCENES)
_HUES: Final = ("", *HUES)


def answers(scene: Scene, concepts: Sequence[Concept]) -> list[int]:
    """What a caption of the scene says, as seven numbers.

    First subject, second subject (0 = none), first and last background word, hues of both
    subjects, layout.
    """
    first, *others = scene.subjects
    names = scene.background.names if scene.background.is_named else ("",)
    second = others[0] if others else None
    return [
        concepts.index(first.concept),
        concepts.index(second.concept) + 1 if second else 0,
        _BACKGROUNDS.index(names[0]),
        _BACKGROUNDS.index(names[-1]),
        _HUES.index(first.hue),
        _HUES.index(second.hue) if second else 0,
        LAYOUTS.index(scene.layout),
    ]


def pretrain(
    text: Text, concepts: Sequence[Concept], tokenizer: ClipTokenizer, *, steps: int = 600,
    batch: int = 96, rate: float = 2e-3, seed: int = 11,
) -> float:  # fmt: skip
    """Train the encoder with one linear head, which is then thrown away.

    The head reads the end mark or a padding place after it, so that all of them carry the meaning.

    Returns:
        Share of right answers in the last batch.
    """
    counts = [len(concepts), len(concepts) + 1, len(_BACKGROUNDS), len(_BACKGROUNDS),
              len(_HUES), len(_HUES), len(LAYOUTS)]  # fmt: skip
    width = text.clip.config.hidden_size
    head = nn.Linear(width, sum(counts))
    params = [*text.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(params, rate, betas=(0.9, 0.98), weight_decay=1e-3)
    rng, right = random.Random(seed), 0.0
    for step in range(steps):
        scenes = [sample_scene(concepts, rng) for _ in range(batch)]
        tokens = padded(
            [tokenizer.encode(caption(s, rng)) for s in scenes], None if step % 8 else 77
        )
        hidden = text(tokens, 2 if rng.random() < 0.15 else 1)[
            torch.arange(batch), _ends(tokens, rng)
        ]
        wanted = torch.tensor([answers(scene, concepts) for scene in scenes]).T
        scores = head(hidden).split(counts, 1)
        loss = sum(
            (F.cross_entropy(s, w) for s, w in zip(scores, wanted, strict=True)), torch.zeros(())
        )
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 50) * (1 - 0.9 * step / steps)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        right = _right_share(scores, wanted)
        if step % 50 == 49:
            logger.info("text: step %d, loss %.3f, right %.2f", step + 1, loss.item(), right)
    return right


def _ends(tokens: Tensor, rng: random.Random) -> Tensor:
    return torch.tensor([rng.randrange(row.index(END), len(row)) for row in tokens.tolist()])


def _right_share(scores: Sequence[Tensor], wanted: Tensor) -> float:
    hits = [(s.argmax(1) == w).float().mean() for s, w in zip(scores, wanted, strict=True)]
    return float(torch.stack(hits).mean())
