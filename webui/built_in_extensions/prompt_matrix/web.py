"""Prompt matrix: the prompt's first part with every choice of its other parts.

Source:
    What it does, its arguments and their order: A1111 1.10's prompt_matrix.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from webui.hookspecs import (
    Choice,
    Names,
    ParamsError,
    Plan,
    Sheet,
    SheetLabel,
    Switch,
    Values,
    Whole,
    Words,
    hook,
    under_labels,
)

MAX_PARTS = 10
"""Parts that come and go: 1024 combinations."""
FIELDS = (
    Switch(
        name="put_at_start", label=Words(en="Put changing parts first", zh="把可变部分放在最前")
    ),
    Switch(
        name="different_seeds", label=Words(en="Different seed for each", zh="每张图使用不同种子")
    ),
    Choice(
        name="prompt", label=Words(en="Prompt in parts", zh="拆分的提示词"),
        choices=("positive", "negative"),
        words=(Words(en="Prompt", zh="正向"), Words(en="Negative prompt", zh="反向")),
    ),
    Choice(
        name="delimiter", label=Words(en="Joined by", zh="连接符"), choices=("comma", "space"),
        words=(Words(en="comma", zh="逗号"), Words(en="space", zh="空格")),
    ),
    Whole(name="margin", label=Words(en="Margin (px)", zh="间距（像素）"), maximum=500, step=2),
    Switch(
        name="include_lone_images",
        label=Words(en="Show single pictures too", zh="同时显示单张图片"),
    ),
)  # fmt: skip
ARGUMENTS = {
    "put_at_start": "Put variable parts at start of prompt",
    "different_seeds": "Use different seed for each picture",
    "prompt": "Select prompt",
    "delimiter": "Select joining char",
    "margin": "Grid margins (px)",
}


@hook
def plans() -> list[Plan]:
    """The plan."""
    return [
        Plan(
            name="matrix", title=Words(en="Prompt matrix", zh="提示词矩阵"), sheet=sheet,
            fields=FIELDS,
            help=Words(
                en="Write parts with | between them: the first is always there, the others come "
                "and go.",
                zh="用 | 分隔各部分：第一部分始终保留，其余部分两两组合出现。",
            ),
            arguments=under_labels(FIELDS, ARGUMENTS),
            from_arguments=lambda given: {"include_lone_images": True, **given},
        )
    ]  # fmt: skip


def sheet(request: Any, values: Values, names: Names) -> Sheet:
    """Half of the parts across, half down.

    Raises:
        ParamsError: Too many parts.
    """
    which = "prompt" if values["prompt"] == "positive" else "negative_prompt"
    first, *others = split_parts(getattr(request, which))
    if len(others) > MAX_PARTS:
        raise ParamsError(
            f"{len(others)} parts that come and go make {2 ** len(others)} combinations; at most "
            f"{MAX_PARTS} parts are combined.",
            "Leave some parts out.", field=which,
        )  # fmt: skip
    across = (len(others) + 1) // 2
    seed = names.seed(request.seed)
    same = {"seed": seed, "subseed": names.seed(request.subseed)}

    def cells() -> Iterator[dict[str, Any]]:
        for number in range(2 ** len(others)):
            chosen = [part for bit, part in enumerate(others) if number >> bit & 1]
            parts = [*chosen, first] if values["put_at_start"] else [first, *chosen]
            text = (", " if values["delimiter"] == "comma" else " ").join(parts)
            ahead = number if values["different_seeds"] else 0
            yield {**same, which: text, "seed": seed + ahead}

    return Sheet(
        cells=cells(), columns=_labels(others[:across]), rows=_labels(others[across:]),
        margin=values["margin"], include_lone_images=values["include_lone_images"],
    )  # fmt: skip


def _labels(parts: Sequence[str]) -> list[SheetLabel]:
    """For each combination of these parts all of them, those left out struck through."""
    return [
        [(part, bool(n >> bit & 1)) for bit, part in enumerate(parts)]
        for n in range(2 ** len(parts))
    ]


def split_parts(prompt: str) -> list[str]:
    """The parts of a prompt; a ``|`` within brackets belongs to alternation or wildcards."""
    parts, depth = [""], 0
    for before, character in zip(["", *prompt], prompt, strict=False):
        if before != "\\" and character in "{[":
            depth += 1
        elif before != "\\" and character in "}]":
            depth = max(0, depth - 1)
        if character == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [parts[0].strip(), *(part.strip().strip(",") for part in parts[1:])]
