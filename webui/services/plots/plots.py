"""Plots: many requests put into the queue as one, foretold, stopped and asked for again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from webui.errors import JobError
from webui.jobs.store import Job, JobStore
from webui.params import AnyParams, Painting, Plot, build, from_json
from webui.prompts.networks import HYPERNET_TYPES, LORA_TYPES, cut_networks
from webui.services.plots.plans import Planned, Plans, Wished
from webui.services.resolve import AnyRequest

MOST_LOOKED_AT = 48
"""Cells whose requests are completed to tell what a plot will take, at each change of the form: a
third of a millisecond each."""
GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class PlotSize:
    """What a plot will come to, before it is asked for.

    Attributes:
        cells, pictures: How many. columns, rows, sheets: Of cells.
        megapixels: Of the sheet, without its labels.
        params: Requests of the cells, of all or of a fair share of them, in the order in which
            they will be painted.
    """

    cells: int
    pictures: int
    columns: int
    rows: int
    sheets: int
    megapixels: float
    params: tuple[Painting, ...]


@dataclass(frozen=True)
class Plots:
    """Puts plots into the queue.

    Attributes:
        plans: What makes many requests of one.
        resolve: From a request to complete params.
        wake: Tells that jobs were submitted.
        check: Raises when a user may not have all these jobs.
    """

    jobs: JobStore
    plans: Plans
    resolve: Callable[[AnyRequest], AnyParams]
    wake: Callable[[], None]
    check: Callable[[str, Sequence[AnyParams]], None]

    def submit(self, request: AnyRequest, wished: Wished, **who: Any) -> Job:
        """Put all cells into the queue, and behind them the job that lays them out.

        Args:
            request: What all cells have in common.
            wished: The plan, and values of its fields.
            who: Further arguments of ``JobStore.submit``.
        Returns:
            The job that lays them out; its parts are the cells.
        Raises:
            WebUIError: No such plan, or a value that cannot be used; nothing was submitted.
        """
        cells, whole = self._resolved(self.plans.plan(wished, request), request)
        return self._put(cells, whole, **who)

    def foretell(self, request: AnyRequest, wished: Wished) -> PlotSize:
        """How large a plot would be. Raises as ``submit``."""
        planned = self.plans.plan(wished, request)
        shares = fair_share(len(planned.cells), MOST_LOOKED_AT)
        resolved = [self.resolve(planned.cells[place]) for place in shares]
        cells = [cell for cell in resolved if isinstance(cell, Painting)]
        sizes = [painted_size(cell) for cell in cells]
        width, height = max(w for w, _ in sizes), max(h for _, h in sizes)
        across, down, sheets = len(planned.columns), len(planned.rows), len(planned.sheets)
        has_sheet = planned.options["has_sheet"]
        return PlotSize(
            cells=len(planned.cells),
            pictures=sum(cell.batch_size * cell.batch_count for cell in planned.cells),
            columns=across, rows=down, sheets=sheets,
            megapixels=across * down * sheets * width * height / 1e6 if has_sheet else 0.0,
            params=tuple(cells[place] for place in quick_order(cells)),
        )  # fmt: skip

    def repeat(self, job: Job, **who: Any) -> Job:
        """Ask for a plot once more, exactly as it was.

        Raises:
            JobError: Its cells are not known any more.
        """
        cells = [from_json(part.params_json) for part in self.jobs.parts(job.id)]
        whole = from_json(job.params_json)
        if not isinstance(whole, Plot) or len(cells) != len(whole.places):
            raise JobError(
                f"The cells of plot {job.id} are not in the list of jobs any more.",
                "Ask for it anew, from the painting tab.",
            )
        return self._put([cell for cell in cells if isinstance(cell, Painting)], whole, **who)

    def cells(self, job: Job) -> tuple[Job, ...]:
        """A plot's cells: sheet by sheet, row by row."""
        whole = from_json(job.params_json)
        places = whole.places if isinstance(whole, Plot) else ()
        placed = zip(places, self.jobs.parts(job.id), strict=False)
        return tuple(part for _, part in sorted(placed, key=lambda pair: pair[0]))

    def stop(self, job_id: int) -> bool:
        """Take all of a plot's waiting cells out of the queue, and the plot itself if there is
        nothing to lay out; False in that case."""
        will_be_drawn = self.jobs.cancel_parts(job_id)
        self.wake()
        return will_be_drawn

    def _resolved(self, planned: Planned, request: AnyRequest) -> tuple[list[Painting], Plot]:
        """The cells in the order in which they are best painted, and the sheet's request."""
        resolved = [self.resolve(cell) for cell in planned.cells]
        cells = [cell for cell in resolved if isinstance(cell, Painting)]
        places = quick_order(cells)
        values = {
            "script": planned.title, "painted": request.kind, "user": request.user,
            "title": request.prompt or planned.cells[0].prompt,
            "columns": planned.columns, "rows": planned.rows, "sheets": planned.sheets,
            "pairs": planned.pairs, "places": tuple(places),
            "output": cells[places[0]].output.model_copy(update={"grid": False}),
            **planned.options,
        }  # fmt: skip
        whole = build("plot", values)
        assert isinstance(whole, Plot), "that kind was asked for"
        return [cells[place] for place in places], whole

    def _put(self, cells: Sequence[Painting], whole: Plot, **who: Any) -> Job:
        self.check(whole.user, [*cells, whole])  # type: ignore[list-item]
        parts = [(cell.kind, cell.to_json()) for cell in cells]  # type: ignore[attr-defined]
        job = self.jobs.submit_with_parts(
            parts, whole.kind, whole.to_json(), user=whole.user, **who
        )
        self.wake()
        return job


def fair_share(count: int, most: int) -> list[int]:
    """So many places at most of ``count``, spread over rows and columns alike.

    Steps near the golden section of the whole meet every row and column about as often; even steps
    would often meet a few columns only.
    """
    if count <= most:
        return list(range(count))
    step = next(n for n in range(round(count * GOLDEN), count) if math.gcd(n, count) == 1)
    return sorted(n * step % count for n in range(most))


def quick_order(cells: Sequence[Painting]) -> list[int]:
    """Places of the cells in an order in which checkpoints change least, then VAEs, then LoRAs.

    Groups come in the order of their first cell, and cells of a group in theirs.
    """
    ranks: list[dict[Any, int]] = [{}, {}, {}]

    def rank(cell: Painting) -> tuple[int, ...]:
        keys = (
            (cell.checkpoint, cell.other_checkpoints, cell.fp8_storage, cell.cache_fp16_weight),
            cell.vae,
            networks_of(cell.prompt),
        )
        return tuple(seen.setdefault(key, len(seen)) for seen, key in zip(ranks, keys, strict=True))

    ranked = [rank(cell) for cell in cells]
    return sorted(range(len(cells)), key=lambda place: (ranked[place], place))


def networks_of(prompt: str) -> tuple[str, ...]:
    """The LoRAs and hypernetworks that a prompt brings along, with their weights."""
    mentions = cut_networks(prompt)[1]
    used = (m for m in mentions if m.type in (*LORA_TYPES, *HYPERNET_TYPES))
    return tuple(sorted(str(m) for m in used))


def painted_size(params: Painting) -> tuple[int, int]:
    """Width and height of a request's pictures, in pixels, as far as the request alone says it."""
    hires, outpaint = getattr(params, "hires", None), getattr(params, "outpaint", None)
    upscale = getattr(params, "sd_upscale", None)
    width, height = params.width, params.height
    if hires is not None and not (hires.resize_x or hires.resize_y):
        width, height = int(width * hires.scale), int(height * hires.scale)
    elif hires is not None:
        width = hires.resize_x or hires.resize_y * width // height
        height = hires.resize_y or hires.resize_x * params.height // params.width
    elif outpaint is not None:
        width += outpaint.left + outpaint.right
        height += outpaint.up + outpaint.down
    elif upscale is not None:
        width, height = int(width * upscale.scale), int(height * upscale.scale)
    return width, height
