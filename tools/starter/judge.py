"""A small classifier that judges pictures: what is shown, how often, and where.

Trained on renders only, blurred and noisy now and then, never on painted pictures. Its accuracy on
renders it has not seen is printed beside every figure.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.starter.concepts import COLOURS, Concept
from tools.starter.drawings import Sprites
from tools.starter.prepare import as_pixels
from tools.starter.scenes import Background, Scene, Subject, draw, sample_scene

logger = logging.getLogger(__name__)

ARRANGEMENTS: Final = ("one", "two", "three", "left", "right", "top", "bottom")
_SHARES: Final = (0.5, 0.02, 0.02, 0.06, 0.06, 0.06, 0.06, 0.11, 0.11, 0.0)
"""Of pools.LAYOUTS, for the classifier's own training."""

_BORDER = 5


class Judge(nn.Module):
    """Pictures → which subject, which arrangement.

    Args:
        subjects: How many subjects there are.
        width: Channels of the first layer.
    """

    def __init__(self, subjects: int, width: int = 40) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels in (width, 2 * width, 3 * width, 4 * width):
            layers += [nn.Conv2d(before, channels, 3, 2, 1), nn.BatchNorm2d(channels), nn.ReLU()]
            before = channels
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2))
        self.subject = nn.Linear(16 * before, subjects)
        self.arrangement = nn.Linear(16 * before, len(ARRANGEMENTS))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Scores.

        Args:
            pixels: (B, 3, H, W) in [-1, 1]; looked at with 64 × 64.
        Returns:
            (B, subjects) and (B, arrangements).
        """
        features = self.features(F.adaptive_avg_pool2d(pixels, 64))
        return self.subject(features), self.arrangement(features)


def arrangement(layout: str) -> int:
    """Place in ``ARRANGEMENTS``; ``big`` and ``small`` count as one."""
    return ARRANGEMENTS.index(layout if layout in ARRANGEMENTS else "one")


@dataclass
class Training:
    """Renders for the classifier; only the painter must not know the held-out pairs."""

    sprites: Sprites
    rng: random.Random

    def draw(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures, subjects and arrangements."""
        concepts = self.sprites.concepts
        scenes = [self._scene() for _ in range(count)]
        pixels = as_pixels([draw(scene, self.sprites, self.rng) for scene in scenes])
        subjects = [concepts.index(scene.subjects[0].concept) for scene in scenes]
        places = [arrangement(scene.layout) for scene in scenes]
        return pixels, torch.tensor(subjects), torch.tensor(places)

    def _scene(self) -> Scene:
        scene = sample_scene(self.sprites.concepts, self.rng, _SHARES)
        if self.rng.random() < 0.5:
            colour = Background("colour", (self.rng.choice(list(COLOURS)),))
            scene = replace(scene, background=colour)
        return scene


def train_judge(sprites: Sprites, file: Path, *, steps: int = 700, seed: int = 77) -> Judge:
    """Train, or read what ``file`` holds already; about two CPU minutes.

    Args:
        sprites: Of all subjects, in the order of the answers.
    """
    torch.manual_seed(seed)
    judge = Judge(len(sprites.concepts))
    if file.exists():
        judge.load_state_dict(torch.load(file, weights_only=True))
        return judge.eval()
    training = Training(sprites, random.Random(seed))
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=1e-2)
    started = time.time()
    for step in range(steps):
        pixels, subjects, places = training.draw(64)
        pixels = F.avg_pool2d(pixels, 2)
        if training.rng.random() < 0.5:
            pixels = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, 1)
        pixels = pixels + torch.randn_like(pixels) * training.rng.choice((0, 0.05, 0.1))
        subject, place = judge(pixels)
        loss = F.cross_entropy(subject, subjects, label_smoothing=0.05)
        loss = loss + F.cross_entropy(place, places, label_smoothing=0.05)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 50) * (1 - step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            right = (subject.argmax(1) == subjects).float().mean()
            logger.info("judge: step %d, %.0f s, %.2f", step + 1, time.time() - started, right)
    torch.save(judge.state_dict(), file)
    return judge.eval()


@torch.no_grad()
def judged(judge: Judge, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Subjects, best five (B, 5), and arrangements (B,)."""
    scores = [judge(part) for part in pixels.split(64)]
    subjects = torch.cat([subject for subject, _ in scores])
    return subjects.topk(5).indices, torch.cat([place for _, place in scores]).argmax(1)


def background_colour(pixels: Tensor) -> list[str]:
    """The colour nearest to the median of the border, for each picture."""
    b = _BORDER
    sides = (pixels[:, :, :b], pixels[:, :, -b:], pixels[..., :b], pixels[..., -b:])
    border = torch.cat([side.flatten(2) for side in sides], 2).median(2).values
    palette = torch.tensor(list(COLOURS.values())).float() / 127.5 - 1
    nearest = (border[:, None] - palette).square().sum(-1).argmin(1)
    return [list(COLOURS)[index] for index in nearest]


def plain_scene(concept: Concept, colour: str, layout: str) -> Scene:
    """One subject on one colour."""
    return Scene((Subject(concept),), layout, Background("colour", (colour,)))
