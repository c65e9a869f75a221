"""What a plot costs beside its bare jobs, and how well the time of jobs is foretold.

    python benchmarks/plots.py cells --runs 3      # 64 cells of 64×64, the same as 64 single jobs
    python benchmarks/plots.py estimates --jobs 60 # median miss on jobs the model has not seen

Both run the web side and a real model process with the starter checkpoint. Wall and CPU seconds
are told, in pairs whose order changes, and their medians: on a busy machine the second is the one
to look at, with ``--threads 1``, as threads that wait for each other use processor time, too.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.table import header, row
from webui.jobs.store import Job
from webui.params import Hires, Painting
from webui.services.costs.estimates import Past, learn, past_of
from webui.services.resolve import TextToImageRequest
from webui.settings import read_settings
from webui.studio import Studio

LONGEST_SECONDS = 3600.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Spent:
    """Seconds of one run: by the clock, and of the processors in the two processes."""

    wall: float
    web: float
    model: float

    @property
    def cpu(self) -> float:
        """Of both processes."""
        return self.web + self.model


@contextmanager
def a_studio(threads: int = 0) -> Iterator[Studio]:
    """A studio on a data folder of its own, its model process warm."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--nowebui", "--data-dir", folder, "--threads", str(threads)]
        studio = Studio(read_settings(flags, {}))
        studio.start()
        try:
            finish(studio, studio.submit(wish(0)))
            yield studio
        finally:
            studio.stop()


def wish(seed: int, **more: object) -> TextToImageRequest:
    """A small picture."""
    values = {"prompt": "a red apple", "width": 64, "height": 64, "steps": 8, "seed": seed}
    return TextToImageRequest.model_validate({**values, **more})


def finish(studio: Studio, job: Job) -> Job:
    """Wait for a job's end."""
    ended = studio.wait(job.id, LONGEST_SECONDS)
    assert ended.state == "done", ended.error
    return ended


def spend(studio: Studio, work: Callable[[], None]) -> Spent:
    """Measure some work."""
    wall, web, model = time.perf_counter(), time.process_time(), model_seconds(studio)
    work()
    return Spent(
        time.perf_counter() - wall, time.process_time() - web, model_seconds(studio) - model
    )


def model_seconds(studio: Studio) -> float:
    """Processor seconds of the model process, so far."""
    fields = Path(f"/proc/{studio.supervisor.worker_pid}/stat").read_text().rpartition(")")[2]
    user, system = map(int, fields.split()[11:13])
    return (user + system) / TICKS


def measure_cells(runs: int, side: int, threads: int) -> None:
    """64 jobs one by one, then the same as a plot, in turns.

    ``wall`` and ``CPU`` compare the two runs whole, so they hold the noise of two times 64
    paintings. ``beside`` is what only the plot has: the sheet's job in the model process, and what
    the web process did more, or less; it is the sharper one.
    """
    cells = side * side
    columns, rows = f"1-{side}", f"1-{side}"
    script = {
        "kind": "xyz",
        "x": {"axis": "Seed", "values": columns},
        "y": {"axis": "CFG Scale", "values": rows},
    }

    sheets: list[float] = []
    drawing: list[float] = []

    def one_by_one() -> None:
        jobs = [
            studio.submit(wish(1 + n % side, cfg_scale=1 + n // side, grid=False))
            for n in range(cells)
        ]
        for job in jobs:
            finish(studio, job)

    def as_a_plot() -> None:
        submitted = studio.plots.submit(wish(0), script)
        first, *_, last = studio.jobs.parts(submitted.id)
        finish(studio, last)
        before = model_seconds(studio)
        whole = finish(studio, submitted)
        drawing.append(model_seconds(studio) - before)
        first = studio.jobs.get(first.id)
        assert whole.started_at and whole.finished_at and first.started_at, "it has been painted"
        sheet = whole.finished_at - whole.started_at
        sheets.append(sheet / (whole.started_at - first.started_at))

    header("pair", "bare wall", "plot wall", "bare web", "plot web", "bare model", "plot model",
           "wall", "CPU", "beside")  # fmt: skip
    ratios: list[tuple[float, ...]] = []
    with a_studio(threads) as studio:
        for number in range(runs):
            order = (one_by_one, as_a_plot) if number % 2 == 0 else (as_a_plot, one_by_one)
            spent = {work: spend(studio, work) for work in order}
            bare, plot = spent[one_by_one], spent[as_a_plot]
            more = plot.web - bare.web + drawing[-1]
            ratios.append((plot.wall / bare.wall, plot.cpu / bare.cpu, 1 + more / bare.cpu))
            shown = (bare.wall, plot.wall, bare.web, plot.web, bare.model, plot.model)
            row(number + 1, *(f"{s:.2f} s" for s in shown), *map(_percent, ratios[-1]))
    medians = (statistics.median(ratio) for ratio in zip(*ratios, strict=True))
    row("median", "", "", "", "", "", "", *map(_percent, medians))
    print(f"\nlaying out the sheet: {statistics.median(sheets) * 100:.1f} % of painting its cells")


def _percent(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.1f} %"


def measure_estimates(count: int) -> None:
    """Paint jobs of all sorts; learn from two thirds of them, foretell the rest."""
    dice = random.Random(3)
    with a_studio() as studio:
        for number in range(count):
            finish(studio, studio.submit(_any_wish(dice, number)))
        done = studio.jobs.list(states=("done",), limit=count, newest_first=True)
        past = past_of(reversed(done))
        sizes = [_described(studio, job) for job in reversed(done)]
    known = len(past) * 2 // 3
    misses = _misses(past, known)
    header("job", "took", "foretold", "miss")
    for one, name, miss, told in zip(past[known:], sizes[known:], *misses, strict=True):
        row(name, f"{one.seconds:.2f} s", f"{told:.2f} s", f"{miss * 100:.0f} %")
    print(f"\nmedian miss {statistics.median(misses[0]) * 100:.1f} % of {len(past) - known} jobs")


def _misses(past: tuple[Past, ...], known: int) -> tuple[list[float], list[float]]:
    model = learn(past[:known])
    told = [model.cost(one.work, one.is_switch).seconds for one in past[known:]]
    pairs = zip(told, past[known:], strict=True)
    return [abs(seconds / one.seconds - 1) for seconds, one in pairs], told


def _any_wish(dice: random.Random, seed: int) -> TextToImageRequest:
    return wish(
        seed, width=dice.choice([64, 96, 128]), height=dice.choice([64, 128]),
        steps=dice.randint(4, 24), sampler=dice.choice(["Euler a", "DPM++ 2M", "Heun"]),
        batch_size=dice.choice([1, 1, 2]), batch_count=dice.choice([1, 1, 2]),
        hires=Hires(scale=2, steps=6) if dice.random() < 0.2 else None,
    )  # fmt: skip


def _described(studio: Studio, job: Job) -> str:
    params = studio.params_of(job)
    assert isinstance(params, Painting), "nothing else was asked for"
    hires = " hires" if getattr(params, "hires", None) else ""
    size = f"{params.width}×{params.height}, {params.steps} {params.sampler}"
    return f"{size}, {params.batch_size}×{params.batch_count}{hires}"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("cells", "estimates"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--side", type=int, default=8, help="cells across and down")
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--threads", type=int, default=0, help="of the model process, 0 = its own")
    given = parser.parse_args()
    if given.what == "cells":
        measure_cells(given.runs, given.side, given.threads)
    else:
        measure_estimates(given.jobs)


if __name__ == "__main__":
    main()
