"""Write a checkpoint's card and its word list: ``python -m tools.starter.card FIGURES CHECKPOINT``.

FIGURES is what evaluate wrote. Beside the checkpoint appear ``.md`` (for people) and ``.json`` (for
the page; A1111's keys for a model's own notes, and ours).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

from safetensors import safe_open

from tools.starter.concepts import (
    COLOUR_WORDS,
    COLOURS,
    HUES,
    SCENES,
    UNCOUNTED,
    Concept,
    read_concepts,
)
from tools.starter.evaluate import SECONDS_TARGET, TARGETS, VAE_TARGET_DB, table

PROMPT_IDEAS: Final = (
    "a red apple on a yellow background", "a cat in the snow", "a castle at sunset",
    "a red heart on a white background", "a sunflower on a blue background", "a rocket at night",
    "a penguin in the snow", "a whale in the ocean", "a yellow bus in front of mountains",
    "a ghost at night", "three stars on a purple background", "a cactus in the desert",
    "a pizza on a green background", "a unicorn on a light blue background",
    "a small strawberry on a light blue background", "a tree in a meadow",
)  # fmt: skip
"""Shown in the page; each was looked at on the sheet or in the evaluation."""
CHINESE_IDEAS: Final = (
    "黄色背景上的红苹果", "雪地里的一只猫", "日落时的城堡",
    "白色背景上的红心", "蓝色背景上的向日葵", "夜里的火箭",
    "雪地里的企鹅", "海洋里的鲸鱼", "山前的黄色公交车",
    "夜里的幽灵", "紫色背景上的三颗星星", "沙漠里的仙人掌",
    "绿色背景上的披萨", "浅蓝色背景上的独角兽", "浅蓝色背景上的小草莓",
    "草地上的一棵树",
)  # fmt: skip
"""The same, for Chinese pages, where they are painted by their English."""

SAMPLING: Final = "20 steps, DPM++ 2M Karras, CFG scale 5, 128×128"

_NOTICE: Final = """Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions: The above copyright
notice and this permission notice shall be included in all copies or
substantial portions of the Software. THE SOFTWARE IS PROVIDED "AS IS",
WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO
THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE
FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT,
TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR
THE USE OR OTHER DEALINGS IN THE SOFTWARE."""


def missed_targets(figures: dict[str, Any]) -> list[str]:
    """Targets that were not reached, with the value and by how much."""
    found = {
        "subject": figures["subject"]["subject"],
        "background": figures["subject"]["background"],
        "count": figures["count"]["arrangement"],
        "place": figures["place"]["arrangement"],
    }
    missed = [
        f"{name}: {value:.1%}, {100 * (TARGETS[name] - value):.1f} points short of the wanted "
        f"{TARGETS[name]:.0%}"
        for name, value in found.items()
        if value < TARGETS[name]
    ]
    if figures["vae_db"] < VAE_TARGET_DB:
        missed.append(f"VAE: {figures['vae_db']:.1f} dB, wanted {VAE_TARGET_DB:.0f} dB")
    if figures["seconds"] > SECONDS_TARGET:
        missed.append(f"time: {figures['seconds']:.2f} s, wanted {SECONDS_TARGET} s")
    return missed


def facts_for_the_page(concepts: list[Concept]) -> dict[str, Any]:
    """The ``.json``: what can be said to this checkpoint."""
    return {
        "description": "The starter: small drawings, 128×128, trained on Fluent Emoji (MIT).",
        "sd version": "SD1",
        "notes": f"Made for {SAMPLING}.",
        "prompt ideas": list(PROMPT_IDEAS),
        "prompt ideas zh": list(CHINESE_IDEAS),
        "words": {
            "subjects": [c.word for c in concepts],
            "backgrounds": list(COLOURS),
            "scenes": [wordings[0] for wordings in SCENES.values()],
            "subject colours": list(HUES),
            "colourable": [c.word for c in concepts if c.is_recolourable],
            "counts": ["two", "three"],
            "sizes": ["small", "big"],
            "places": ["on the left", "on the right", "at the top", "at the bottom"],
        },
    }


def card(figures: dict[str, Any], training: str, notes: str, concepts: list[Concept]) -> str:
    """The ``.md``.

    Args:
        training: The training's figures in words. notes: What else was measured, Markdown.
    """
    words = ", ".join("/".join(c.words) if c.word not in UNCOUNTED else c.word for c in concepts)
    colours = ", ".join("/".join(COLOUR_WORDS.get(name, (name,))) for name in COLOURS)
    scenes = ", ".join(wordings[0] for wordings in SCENES.values())
    tinted = ", ".join(c.word for c in concepts if c.is_recolourable)
    missed = "\n".join(f"- {line}" for line in missed_targets(figures)) or "- none"
    return f"""# starter-emoji: card

A real Stable Diffusion 1.x in small, trained from nothing on a CPU. It shows that everything
works, in simple drawings of 128×128 pixels; it is not what Stable Diffusion can do. How it was
made: [tools/starter](../../tools/starter/README.md).

## Figures, as measured

{SAMPLING}; subject and background of each picture never stood together in training. A small
classifier trained on renders only is the judge; its own accuracy on renders stands beside.
Training: {training}.

{table(figures)}

Targets missed:

{missed}

{notes.strip()}

## What it can draw

- **{len(concepts)} subjects**: {words}.
- **Backgrounds**: {colours}; gradients of two of them ("on a pink and blue gradient background").
- **Scenes**: {scenes}.
- **Number and size**: two, three; small, big. **Place**: on the left, on the right, at the top,
  at the bottom.
- **Colours of a thing** ({", ".join(HUES)}): {tinted}.

## What it cannot

Other words (it paints something nearby), more than three things, two different things in one
picture reliably, sizes other than about 128×128, fine detail, writing, people, photographs.

## Licence

Trained on drawings of [Microsoft Fluent Emoji](https://github.com/microsoft/fluentui-emoji) (flat
style, npm package @iconify-json/fluent-emoji-flat). MIT licence, Copyright (c) Microsoft
Corporation. The weights are given under the same licence; keep this notice with them:

> MIT License. Copyright (c) Microsoft Corporation.
>
> {_NOTICE.replace(chr(10), chr(10) + "> ")}
"""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", type=Path, help="JSON file of evaluate")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--notes", type=Path, help="Markdown to put below the figures")
    arguments = parser.parse_args()
    figures, concepts = json.loads(arguments.figures.read_text("utf-8")), read_concepts()
    with safe_open(arguments.checkpoint, "pt") as opened:
        training = (opened.metadata() or {}).get("training", "not stated")
    notes = arguments.notes.read_text("utf-8") if arguments.notes else ""
    arguments.checkpoint.with_suffix(".md").write_text(card(figures, training, notes, concepts))
    facts = json.dumps(facts_for_the_page(concepts), indent=1, ensure_ascii=False)
    arguments.checkpoint.with_suffix(".json").write_text(facts + "\n")


if __name__ == "__main__":
    main()
