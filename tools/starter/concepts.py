"""What the starter can draw, and the English words for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

TABLE: Final = Path(__file__).with_name("concepts.txt")

COLOURS: Final = {
    "red": (220, 45, 45), "orange": (245, 145, 40), "yellow": (250, 215, 60),
    "green": (60, 170, 75), "blue": (45, 105, 220), "light blue": (135, 205, 245),
    "purple": (135, 70, 190), "pink": (250, 160, 200), "brown": (130, 85, 50),
    "black": (22, 22, 26), "white": (250, 250, 250), "gray": (140, 143, 148),
}  # fmt: skip
"""Background colours, sRGB 0–255."""

COLOUR_WORDS: Final = {
    "gray": ("gray", "grey"),
    "light blue": ("light blue", "sky blue", "cyan"),
    "purple": ("purple", "violet"),
}

HUES: Final = {
    "red": 0.0, "orange": 0.075, "yellow": 0.14, "green": 0.34,
    "blue": 0.6, "purple": 0.76, "pink": 0.91,
}  # fmt: skip
"""Colours a drawing may be given, as hue 0–1."""

RECOLOURABLE: Final = frozenset(
    {
        "automobile", "bus", "delivery-truck", "rose", "tulip", "umbrella", "balloon",
        "t-shirt", "dress", "bird", "fish", "butterfly", "red-heart", "star", "teapot",
        "high-heeled-shoe", "backpack", "crayon", "helicopter", "flying-saucer", "guitar",
        "gem-stone", "robot", "octopus", "dragon-face", "frog", "racing-car", "candle",
    }
)  # fmt: skip
"""Drawings with one main colour that may be another."""

UNCOUNTED: Final = frozenset(
    {
        "grapes", "cherries", "french fries", "pancakes", "glasses", "sunglasses", "jeans",
        "scissors", "headphones", "books", "blueberries", "crossed swords", "swords", "bread",
        "cheese", "corn", "broccoli", "popcorn", "sushi", "coffee", "beer", "candy", "fire",
        "earth",
    }
)  # fmt: skip
"""Words without article, and the same for one and for many."""

SCENES: Final = {
    "meadow": (
        "in a meadow", "on the grass", "in a green field", "on green grass under a blue sky",
    ),
    "beach": ("on the beach", "at the beach", "on sand by the sea"),
    "snow": ("in the snow", "in a snowy landscape", "in winter"),
    "night": ("at night", "under the stars", "in the night sky", "in space"),
    "sunset": ("at sunset", "in front of a sunset"),
    "sea": ("under water", "in the ocean", "in the sea"),
    "desert": ("in the desert",),
    "mountains": ("in the mountains", "in front of mountains"),
}  # fmt: skip

ART_OPENINGS: Final = (
    "a picture of", "a drawing of", "an illustration of", "an emoji of", "an icon of",
    "a cartoon of", "a painting of", "a photo of", "clip art of",
)  # fmt: skip
ART_WORDS: Final = (
    "flat design", "best quality", "masterpiece", "high quality", "detailed", "simple",
    "vector art", "cute", "beautiful", "colorful", "emoji style", "cartoon style",
    "highly detailed", "8k", "4k", "digital art",
)  # fmt: skip
"""Words people add; they change nothing, so that they do no harm."""

NEGATIVE_WORDS: Final = (
    "blurry", "low quality", "worst quality", "bad quality", "bad anatomy", "deformed", "ugly",
    "watermark", "text", "lowres", "jpeg artifacts", "signature", "extra limbs", "bad hands",
    "out of frame", "noisy", "distorted",
)  # fmt: skip


@dataclass(frozen=True)
class Concept:
    """One thing that can be drawn.

    Attributes:
        name: Of the drawing in the package. words: Its English names, the usual one first.
        is_core: The shipped checkpoint was trained on it.
    """

    name: str
    words: tuple[str, ...]
    is_core: bool

    @property
    def word(self) -> str:
        """The usual name."""
        return self.words[0]

    @property
    def is_recolourable(self) -> bool:
        """It may be asked for in another colour."""
        return self.name in RECOLOURABLE


def read_concepts(which: str = "core", table: Path = TABLE) -> list[Concept]:
    """The concepts in the order of the table.

    Args:
        which: ``core`` (what ships) or ``all``.
    """
    concepts = [
        _read(line) for line in table.read_text("utf-8").splitlines() if not line.startswith("#")
    ]
    return [c for c in concepts if c.is_core or which == "all"]


def _read(line: str) -> Concept:
    name, _, words = line[2:].partition(" = ")
    return Concept(name, tuple(words.split(" | ")), line.startswith("*"))
