"""Honest figures of a starter checkpoint: ``python -m tools.starter.evaluate FILE``.

Paints (subject, background) pairs that training never met, and asks the classifier (``judge.py``)
what it sees. Prints the model card's table and writes everything to a JSON file.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from webui.torch_setup import prepare_torch

prepare_torch()

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from tools.starter.captions import plain_caption  # noqa: E402
from tools.starter.concepts import COLOURS, Concept, read_concepts  # noqa: E402
from tools.starter.drawings import IconPackage, Sprites  # noqa: E402
from tools.starter.judge import (  # noqa: E402
    Judge,
    arrangement,
    background_colour,
    judged,
    plain_scene,
    train_judge,
)
from tools.starter.painting import Painter, sheet  # noqa: E402
from tools.starter.prepare import as_pixels  # noqa: E402
from tools.starter.scenes import draw, is_held_out  # noqa: E402
from tools.starter.train_vae import HELD_SEED, Pictures, psnr, rebuilt  # noqa: E402
from webui.checkpoints.load import load_checkpoint  # noqa: E402

logger = logging.getLogger(__name__)

TARGETS: Final = {"subject": 0.95, "background": 0.95, "count": 0.85, "place": 0.85}
VAE_TARGET_DB: Final = 30.0
SECONDS_TARGET: Final = 1.5


@dataclass(frozen=True)
class Question:
    """One picture to paint and what must be seen in it."""

    concept: Concept
    colour: str
    layout: str
    seed: int

    @property
    def prompt(self) -> str:
        return plain_caption(self.concept, self.colour, self.layout)


def questions(concepts: Sequence[Concept], layouts: Sequence[str], count: int) -> list[Question]:
    """Held-out pairs in a fixed chance order, layouts in turn, each with a seed of its own."""
    pairs = [(c, colour) for c in concepts for colour in COLOURS if is_held_out(c.name, colour)]
    random.Random(4242).shuffle(pairs)
    return [
        Question(*pairs[place % len(pairs)], layouts[place % len(layouts)], 1000 + place)
        for place in range(count)
    ]


def rendered(asked: Sequence[Question], sprites: Sprites) -> Tensor:
    """The true pictures, to show how far the classifier can be trusted."""
    rng = random.Random(5)
    scenes = [plain_scene(q.concept, q.colour, q.layout) for q in asked]
    return as_pixels([draw(scene, sprites, rng) for scene in scenes])


def right_shares(
    asked: Sequence[Question], pixels: Tensor, judge: Judge, concepts: Sequence[Concept]
) -> dict[str, Any]:
    """How many pictures show what was asked for; and which did not."""
    subjects, places = judged(judge, pixels)
    wanted = torch.tensor([concepts.index(q.concept) for q in asked])
    is_place = places == torch.tensor([arrangement(q.layout) for q in asked])
    is_first = subjects[:, 0] == wanted
    grounds = background_colour(pixels)
    is_ground = [found == q.colour for found, q in zip(grounds, asked, strict=True)]
    return {
        "pictures": len(asked),
        "subject": is_first.float().mean().item(),
        "subject among five": (subjects == wanted[:, None]).any(1).float().mean().item(),
        "background": sum(is_ground) / len(asked),
        "arrangement": is_place.float().mean().item(),
        "missed": [
            {"prompt": q.prompt, "seed": q.seed, "seen": concepts[int(s)].word, "on": ground}
            for q, s, good, ground in zip(asked, subjects[:, 0], is_first, grounds, strict=True)
            if not good
        ],
    }


def seconds_per_picture(painter: Painter, repeats: int = 3) -> float:
    """Median time of one picture painted alone, in seconds, on the threads torch has now."""
    times = []
    for seed in range(repeats + 1):
        started = time.perf_counter()
        painter.paint(["a cat on a blue background"], [seed])
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def evaluate(
    file: Path, sprites: Sprites, judge: Judge, count: int
) -> tuple[dict[str, Any], Tensor]:
    """All figures of a checkpoint.

    Args:
        count: Pictures for each of the three parts.
    Returns:
        The figures, and the pictures of the first part.
    """
    painter = Painter(load_checkpoint(file))
    concepts = sprites.concepts
    parts = {
        "subject": questions(concepts, ("one",), count),
        "count": questions(concepts, ("one", "two", "three"), count),
        "place": questions(concepts, ("left", "right", "top", "bottom"), count),
    }
    figures: dict[str, Any] = {"file": file.name, "subjects": len(concepts)}
    shown = torch.empty(0)
    for name, asked in parts.items():
        pixels = painter.paint([q.prompt for q in asked], [q.seed for q in asked])
        shown = pixels if name == "subject" else shown
        figures[name] = right_shares(asked, pixels, judge, concepts)
        figures[f"{name} in renders"] = right_shares(
            asked, rendered(asked, sprites), judge, concepts
        )
        logger.info("%s: %s", name, {k: v for k, v in figures[name].items() if k != "missed"})
    held = Pictures(sprites, HELD_SEED).draw(32)
    figures["vae_db"] = psnr(rebuilt(painter.model.vae, held), held)
    figures["seconds"] = seconds_per_picture(painter)
    figures["threads"] = torch.get_num_threads()
    return figures, shown


def table(figures: dict[str, Any]) -> str:
    """The model card's table in Markdown."""
    rows = [
        ("subject recognised", "subject", "subject", TARGETS["subject"]),
        ("subject among the best five", "subject", "subject among five", None),
        ("background colour right", "subject", "background", TARGETS["background"]),
        ("count right (one, two, three)", "count", "arrangement", TARGETS["count"]),
        ("place right (left, right, top, bottom)", "place", "arrangement", TARGETS["place"]),
    ]
    lines = [
        "| held-out pairs | painted | real renders | wanted | pictures, seeds |",
        "|---|---|---|---|---|",
    ]
    for label, part, key, target in rows:
        found, real = figures[part], figures[f"{part} in renders"]
        wanted = f"≥ {target:.0%}" if target else "–"
        last = 999 + found["pictures"]
        lines.append(
            f"| {label} | {found[key]:.1%} | {real[key]:.1%} | {wanted} | "
            f"{found['pictures']}, 1000–{last} |"
        )
    lines += [
        "",
        "| | measured | wanted |",
        "|---|---|---|",
        f"| VAE on 32 held-out drawings | {figures['vae_db']:.1f} dB PSNR | "
        f"≥ {VAE_TARGET_DB:.0f} dB |",
        f"| one picture, 20 steps, {figures['threads']} CPU threads | {figures['seconds']:.2f} s | "
        f"≤ {SECONDS_TARGET} s |",
    ]
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="checkpoint")
    parser.add_argument("--modules", type=Path, required=True, help="node_modules folder")
    parser.add_argument("--judge", type=Path, default=Path("judge.pt"), help="kept classifier")
    parser.add_argument("--out", type=Path, help="JSON file with everything, and a sheet beside it")
    parser.add_argument("--count", type=int, default=96, help="pictures for each part")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    sprites = Sprites.rendered(read_concepts(), IconPackage(arguments.modules))
    judge = train_judge(sprites, arguments.judge)
    figures, shown = evaluate(arguments.file, sprites, judge, arguments.count)
    print(table(figures))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1))
        sheet(shown, 12).save(arguments.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
