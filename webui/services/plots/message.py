"""What the model process is told about a plot: which pictures lie where, and why some do not."""

from __future__ import annotations

from typing import Any

from webui.infotext import add_pairs
from webui.jobs.store import Job, JobStore
from webui.library.library import Library, SavedPicture
from webui.params import Plot

_FACTS = ("seed", "prompt", "negative_prompt", "model_name", "model_hash", "steps", "cfg_scale",
          "sampler", "schedule")  # fmt: skip
"""Of the first picture, for the sheet's file name."""


def plot_message(job: Job, params: Plot, jobs: JobStore, library: Library) -> dict[str, Any]:
    """The ``plot`` of a ``run`` message; see ``PlotRun``."""
    room = len(params.columns) * len(params.rows) * len(params.sheets)
    cells: list[dict[str, Any]] = [{"paths": [], "sizes": [], "reason": ""} for _ in range(room)]
    first: dict[int, SavedPicture] = {}
    for part, place in zip(jobs.parts(job.id), params.places, strict=False):
        pictures = sorted(_pictures(library, part), key=lambda picture: picture.index)
        cells[place] = {
            "paths": [str(picture.path) for picture in pictures],
            "sizes": [(picture.width, picture.height) for picture in pictures],
            "reason": str((part.error or {}).get("message", "")),
        }
        if pictures:
            first[place] = pictures[0]
    shown = first[min(first)] if first else None
    known = shown.facts if shown else {}
    return {
        "cells": cells,
        "infotexts": _infotexts(params, first),
        "facts": {key: known[key] for key in _FACTS if key in known},
    }


def _pictures(library: Library, part: Job) -> list[SavedPicture]:
    return [p for p in library.images_of(part.id) if p.kind == "image" and p.is_there]


def _infotexts(params: Plot, first: dict[int, SavedPicture]) -> list[str]:
    """Of the sheet of all, then of each; as A1111 does it, the first picture's with the axes."""
    size = len(params.columns) * len(params.rows)
    whole = range(size * len(params.sheets))
    singles = [range(n * size, (n + 1) * size) for n in range(len(params.sheets))]
    without_z = [pair for pair in params.pairs if "Z " not in pair[0]]
    texts: list[str] = []
    for places, pairs in [(whole, params.pairs), *((one, without_z) for one in singles)]:
        there = [place for place in places if place in first]
        texts.append(add_pairs(first[there[0]].infotext, pairs) if there else "")
    return texts
