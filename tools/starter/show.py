"""A sheet of 64 prompts: ``python -m tools.starter.show CHECKPOINT SHEET.webp``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from webui.torch_setup import prepare_torch

prepare_torch()

import torch  # noqa: E402

from tools.starter.painting import Painter, sheet  # noqa: E402
from webui.checkpoints.load import load_checkpoint  # noqa: E402

PROMPTS: Final = (
    "a cat", "a dog on a yellow background", "a red apple on a blue background",
    "a car on a white background", "a rocket at night", "a penguin in the snow",
    "a slice of pizza on a green background", "a butterfly on a yellow background",
    "a fox in a meadow", "two bananas on a pink background", "a castle at sunset",
    "a turtle on the beach", "a green t-shirt on a white background",
    "a happy face on a black background", "a tree in a meadow",
    "a guitar on an orange background", "a small strawberry on a light blue background",
    "a big lion on a green background", "an octopus under water", "a cactus in the desert",
    "a yellow bus in front of mountains", "a pink rose on a black background",
    "a cup of coffee on a brown background", "a hamburger on a red background",
    "a snowman in winter", "a ghost at night, masterpiece, best quality",
    "a panda on a pink and blue gradient background", "a sunflower on a blue background",
    "a robot on a gray background", "three stars on a purple background",
    "a unicorn on a light blue background", "a birthday cake on a purple background",
    "a red heart on a white background", "a house on the grass", "a whale in the ocean",
    "an alien on a purple background", "a crown on a red background",
    "a soccer ball on the grass", "a light bulb on a black background",
    "a key on a green background", "a purple umbrella on a yellow background",
    "a blue balloon in a meadow", "a frog on the left on a pink background",
    "a mushroom on the right on a white background",
    "a sun at the top on a light blue background", "a sailboat in the sea",
    "an airplane on a light blue background", "a ufo at night", "two cats on a blue background",
    "three lemons on a white background", "three hearts on a pink background",
    "two owls at night", "a tulip on a brown background", "an ice cream on a pink background",
    "a donut on a light blue background", "a christmas tree in the snow",
    "a gift on a green background", "a trophy on a black background",
    "a halloween pumpkin on an orange background", "a skull on a gray background",
    "a rainbow on a white background", "a crescent moon at night",
    "a watermelon on a yellow background", "a cat and a dog on a green background",
)  # fmt: skip


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument(
        "sheet", type=Path, help="picture to write; the prompts go beside it (.txt)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of every picture")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    painter = Painter(load_checkpoint(arguments.checkpoint))
    pictures = painter.paint(PROMPTS, [arguments.seed] * len(PROMPTS))
    sheet(pictures, 8).save(arguments.sheet, quality=88)
    arguments.sheet.with_suffix(".txt").write_text("\n".join(PROMPTS) + "\n")


if __name__ == "__main__":
    main()
