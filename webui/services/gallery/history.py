"""How pictures came about: whose child is whose, and in what two recipes differ."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from webui.errors import WebUIError
from webui.infotext import Infotext, mend_hashes, parse_infotext
from webui.jobs.store import JobStore
from webui.library.gallery.rows import Picture
from webui.library.inputs import Inputs
from webui.library.library import SavedPicture
from webui.params import AnyParams, Extras, ImageToImage, TextToImage, WithoutPainting, from_json
from webui.roles import may_see
from webui.services.follow_ups import again, input_of
from webui.services.gallery.pictures import Gallery

MOST_RELATIVES = 400
_BETWEEN_TAGS = re.compile(r"(?<=[,，\n])")


def lineage(jobs: JobStore, inputs: Inputs, saved: SavedPicture) -> tuple[str, Path | None]:
    """A painted picture's kind and the file it was made from; None when it began with nothing."""
    if saved.kind == "grid":
        return "grid", None
    try:
        params = from_json(jobs.get(saved.job_id).params_json)
    except (WebUIError, ValueError):
        return "", None  # its job is gone: the file says what it can
    key = input_of(params, saved.index)
    try:
        return kind_of(params), inputs.path(key) if key else None
    except WebUIError:
        return kind_of(params), None


def kind_of(params: AnyParams) -> str:
    """Of which kind a request's pictures are, one of ``query.KINDS``."""
    if isinstance(params, ImageToImage):
        if params.inpaint or params.outpaint:
            return "inpaint"
        return "upscale" if params.sd_upscale else "img2img"
    if isinstance(params, TextToImage):
        return "upscale" if params.first_pass_image else "txt2img"
    return "upscale" if isinstance(params, Extras) else "other"


def paint_again(jobs: JobStore, picture: Picture) -> AnyParams | None:
    """The request that paints a picture once more; None when no job here painted it."""
    if picture.job is None or picture.job_index is None:
        return None
    try:
        params = from_json(jobs.get(picture.job).params_json)
    except (WebUIError, ValueError):
        return None
    if picture.kind == "grid" or isinstance(params, WithoutPainting):
        return params
    return again(params, picture.job_index, int(picture.seed) if picture.seed else None)


def lacks_beginning(jobs: JobStore, inputs: Inputs, picture: Picture) -> bool:
    """True for a picture that was made from others, of which one is not known here (any more)."""
    params = paint_again(jobs, picture)
    if params is None:
        return picture.kind != "txt2img"
    return not all(map(inputs.has, params.input_keys))


def family(gallery: Gallery, picture: Picture, user: str) -> list[tuple[Picture, int | None]]:
    """A picture's history: the first it goes back to, and all that was made from that.

    Returns:
        Pictures that this login may see, each with the number of the one it was made from, parents
        before children; at least the picture itself.
    """
    first, seen = picture, {picture.mark}
    while (parent := gallery.parent_of(first)) is not None and parent.mark not in seen:
        if not may_see(user, parent.user):
            break
        first = parent
        seen.add(parent.mark)
    found: list[tuple[Picture, int | None]] = [(first, None)]
    listed = {first.id}
    for one, _ in found:
        for child in gallery.children_of(one):
            if child.id in listed or not may_see(user, child.user):
                continue
            if len(found) >= MOST_RELATIVES:
                return found
            listed.add(child.id)
            found.append((child, one.id))
    return found


# Two recipes side by side


def compare(first: str, second: str) -> dict[str, Any]:
    """In what two recipes differ.

    Returns:
        ``prompt`` and ``negative``: runs of text as ``[sign, text]`` with ``=`` for both, ``-``
        for the first alone, ``+`` for the second alone. ``rows``: key, value of the first, value
        of the second; those that differ come first.
    """
    a, b = (mend_hashes(parse_infotext(text)) for text in (first, second))
    rows = list(_rows(a, b))
    return {
        "prompt": difference(a.prompt, b.prompt),
        "negative": difference(a.negative_prompt, b.negative_prompt),
        "rows": [row for row in rows if row[1] != row[2]]
        + [row for row in rows if row[1] == row[2]],
    }


def facts_of(infotext: str) -> list[tuple[str, str]]:
    """The pairs of a recipe, sizes in one piece."""
    return [(key, a) for key, a, _ in _rows(mend_hashes(parse_infotext(infotext)), Infotext())]


def _rows(a: Infotext, b: Infotext) -> Iterator[tuple[str, str, str]]:
    one, two = _joined(a.params), _joined(b.params)
    for key in dict.fromkeys((*one, *two)):
        yield key, one.get(key, ""), two.get(key, "")


def _joined(params: dict[str, str]) -> dict[str, str]:
    """With ``Size-1`` and ``Size-2`` as one ``Size`` again."""
    joined: dict[str, str] = {}
    for key, value in params.items():
        name = key[:-2]
        if key.endswith("-1") and f"{name}-2" in params:
            joined[name] = f"{value}x{params[f'{name}-2']}"
        elif not (key.endswith("-2") and f"{name}-1" in params):
            joined[key] = value
    return joined


def difference(first: str, second: str) -> list[tuple[str, str]]:
    """Two prompts, tag by tag, as runs of text; see ``compare``."""
    a, b = _BETWEEN_TAGS.split(first), _BETWEEN_TAGS.split(second)
    matcher = SequenceMatcher(None, _plain(a), _plain(b), autojunk=False)
    runs: list[tuple[str, str]] = []
    for what, a1, a2, b1, b2 in matcher.get_opcodes():
        if what == "equal":
            runs.append(("=", "".join(a[a1:a2])))
            continue
        runs += [("-", "".join(a[a1:a2]))] if a2 > a1 else []
        runs += [("+", "".join(b[b1:b2]))] if b2 > b1 else []
    return [(sign, text) for sign, text in runs if text.strip()]


def _plain(tags: Iterable[str]) -> list[str]:
    return [tag.strip(" ,，\n") for tag in tags]
