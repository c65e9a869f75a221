"""Wildcards and choices in prompts: ``__name__`` and ``{a|b}``, drawn for every picture.

What was drawn is kept in the job by the program; here is only what may be drawn, and how.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from webui.errors import PromptSyntaxError
from webui.hookspecs import Drawable, Offer, Words, hook

from .drawing import Drawer
from .templates import is_template
from .texts import combinations as all_combinations
from .texts import one_for_each
from .wildcards import WildcardFiles, wildcard_folders

MARK = "__"
MOST_NAMED = 20
"""Wildcards without a file that are told of one prompt."""
files = WildcardFiles([])


@hook
def loaded(data: Path, programs: Sequence[Path]) -> None:
    """Wildcard files lie in the data folder, and where A1111's extensions keep them."""
    files.look_in(wildcard_folders(data, programs))


@hook
def draw_prompts(
    texts: Sequence[str],
    which: str,
    seeds: Sequence[int],
    combinations: int,
    warn: Callable[[str], None],
) -> list[str] | None:
    """Each picture's text by its own seed, or all there are."""
    drawer = Drawer(files.find)
    if combinations:
        found = all_combinations(texts, combinations, drawer)
    else:
        found = one_for_each(texts, seeds, drawer, is_negative="negative" in which)
    for name in drawer.missing:
        warn(f"No wildcard file holds anything for __{name}__; it stays in the prompt as it is.")
    return found


@hook
def prompt_choices(text: str) -> list[Drawable]:
    """How many texts a prompt may become, and which of its wildcards have no file."""
    if not is_template(text):
        return []
    drawer = Drawer(files.find)
    try:
        count, problem = drawer.count(text), ""
    except PromptSyntaxError as err:
        count, problem = 0, str(err)
    return [Drawable(count, _lacking(list(drawer.missing)), problem)]


def _lacking(missing: Sequence[str]) -> Words:
    if not missing:
        return Words()
    names = " ".join(f"{MARK}{name}{MARK}" for name in missing[:MOST_NAMED])
    return Words(en=f"no wildcard file: {names}", zh=f"没有通配符文件：{names}")


@hook
def prompt_offers(typed: str) -> list[Offer]:
    """Names of wildcards that hold what was typed; those that begin with it first."""
    if not typed.startswith(MARK):
        return []
    wanted = typed.removeprefix(MARK).casefold()
    names = [name for name in files.names() if wanted in name.casefold()]
    names.sort(key=lambda name: not name.casefold().startswith(wanted))
    label = Words(en="wildcard", zh="通配符")
    return [Offer(f"{MARK}{name}{MARK}", name, label) for name in names]
