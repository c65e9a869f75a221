"""Prompts from file or textbox: one request for each line of a text.

Source:
    What it does, its arguments and their order: A1111 1.10's prompts_from_file.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from webui.hookspecs import (
    Choice,
    Names,
    ParamsError,
    Plan,
    Sheet,
    Switch,
    Text,
    Values,
    Words,
    hook,
    under_labels,
)

from .lines import read_lines

FIELDS = (
    Text(
        name="text", label=Words(en="Prompts", zh="提示词"), lines=6, most=2_000_000,
        is_needed=True, file_endings=(".txt", ".text"),
        help=Words(
            en='One prompt per line, or options: --prompt "a cat" --steps 30',
            zh='每行一个提示词，或写参数：--prompt "a cat" --steps 30',
        ),
    ),
    Switch(
        name="iterate_seed", label=Words(en="Seeds go on from line to line", zh="每行种子递增")
    ),
    Switch(
        name="same_seed",
        label=Words(en="One random seed for all lines", zh="所有行使用同一随机种子"),
    ),
    Choice(
        name="position", label=Words(en="Put the lines", zh="插入位置"), choices=("start", "end"),
        words=(
            Words(en="before the prompt", zh="提示词之前"),
            Words(en="after the prompt", zh="提示词之后"),
        ),
    ),
    Switch(name="has_sheet", label=Words(en="Also one sheet of all", zh="另存一张总图")),
)  # fmt: skip
ARGUMENTS = {
    "iterate_seed": "Iterate seed every line",
    "same_seed": "Use same random seed for all lines",
    "position": "Insert prompts at the",
    "text": "List of prompt inputs",
}


@hook
def plans() -> list[Plan]:
    """The plan."""
    return [
        Plan(
            name="list",
            title=Words(en="Prompts from file or textbox", zh="从文件或文本框载入提示词"),
            sheet=sheet,
            fields=FIELDS,
            arguments=under_labels(FIELDS, ARGUMENTS),
        )
    ]


def sheet(request: Any, values: Values, names: Names) -> Sheet:
    """A cell for each line that is not empty.

    Raises:
        ParamsError: There is none, or one that cannot be read.
    """
    if not values["text"].strip():
        raise ParamsError(
            "There are no prompts: every line is empty.", "Write one prompt on each line.",
            field="text",
        )  # fmt: skip
    has_seed = values["iterate_seed"] or values["same_seed"]
    seed = names.seed(request.seed) if has_seed else request.seed
    pictures = request.batch_size * request.batch_count

    def cells() -> Iterator[dict[str, Any]]:
        for number, line in enumerate(read_lines(values["text"], names)):
            ahead = number * pictures if values["iterate_seed"] else 0
            own = {"seed": seed + ahead} if has_seed else {}
            yield {**own, **line.changes(request, values["position"])}

    return Sheet(cells=cells(), is_drawn=values["has_sheet"], include_lone_images=True)
