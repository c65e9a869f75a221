"""Every picture has a word of its own: the lines of a file, by its seed or all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from webui.errors import ParamsError
from webui.hookspecs import Drawable, Offer, Text, Values, Words, hook

MARK = "%word%"
places: list[Path] = []


@hook
def loaded(data: Path, programs: Sequence[Path]) -> None:
    places[:] = [data, *programs]


def _lines() -> list[str]:
    return (places[0] / "own-words.txt").read_text(encoding="utf-8").split()


@hook
def settings() -> list[Text]:
    return [Text(name="between", default="and")]


@hook
def draw_prompts(
    warn: Callable[[str], None], texts: Sequence[str], seeds: Sequence[int], values: Values,
    combinations: int, which: str,
) -> list[str] | None:  # fmt: skip
    if not any(MARK in text for text in texts):
        return None
    if "refuse" in texts[0]:
        raise ParamsError("own_texts draws nothing here.", "Write something else.", field="prompt")
    if which != "prompt":
        warn(f"{which} has a {MARK}.")
    lines = _lines()
    if combinations:
        return [text.replace(MARK, line) for text in dict.fromkeys(texts) for line in lines]
    drawn = [lines[seed % len(lines)] for seed in seeds]
    return [
        text.replace(MARK, f"{values['between']} {line}")
        for text, line in zip(texts, drawn, strict=True)
    ]


@hook
def prompt_choices(text: str) -> list[Drawable]:
    return [Drawable(len(_lines()), Words(en="own"))] if MARK in text else []


@hook
def prompt_offers(typed: str) -> list[Offer]:
    return [Offer(MARK, "word", Words(en="own", zh="自己"))] if "%" in typed else []
