"""Plots from request to sheet: cells as jobs of one group, holes, stops, restarts."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.api.clients import FAKE_WORKER
from tests.patience import PATIENCE, wait_until
from webui.errors import ParamsError
from webui.jobs.store import Job
from webui.params import Painting, Plot, TextToImage
from webui.pictures import read_infotext
from webui.services.plots.plots import fair_share, quick_order
from webui.services.resolve import TextToImageRequest
from webui.settings import read_settings
from webui.studio import Studio


@pytest.fixture(scope="module")
def make_studio(
    tmp_path_factory: pytest.TempPathFactory, starter_checkpoint: Path
) -> Iterator[Callable[..., Studio]]:
    made: list[Studio] = []

    def make(folder: Path | None = None) -> Studio:
        folder = folder or tmp_path_factory.mktemp("plots")
        models = folder / "models" / "Stable-diffusion"
        if not models.exists():
            models.mkdir(parents=True)
            shutil.copy(starter_checkpoint, models / "second.safetensors")
        settings = read_settings(["--nowebui", "--data-dir", str(folder)], {})
        studio = Studio(settings, worker_command=[sys.executable, "-m", FAKE_WORKER])
        studio.start()
        made.append(studio)
        return studio

    yield make
    for studio in made:
        if not studio.is_closing:
            studio.stop()


@pytest.fixture(scope="module")
def studio(make_studio: Callable[..., Studio]) -> Studio:
    return make_studio()


def wish(**more: Any) -> TextToImageRequest:
    return TextToImageRequest(**{"prompt": "a cat", "width": 64, "height": 64, "seed": 7, **more})


def xyz(**axes: tuple[str, Any]) -> dict[str, Any]:
    made = {letter: {"axis": axis, "values": values} for letter, (axis, values) in axes.items()}
    return {"kind": "xyz", **made}


def ended(studio: Studio, job: Job) -> Job:
    job = studio.wait(job.id, PATIENCE)
    assert job.is_finished
    return job


def cells_of(studio: Studio, job: Job) -> list[Painting]:
    """The cells' requests in the order of the grid."""
    whole = studio.params_of(job)
    assert isinstance(whole, Plot)
    parts = [studio.params_of(part) for part in studio.jobs.parts(job.id)]
    placed = dict(zip(whole.places, parts, strict=True))
    return [cell for _, cell in sorted(placed.items()) if isinstance(cell, Painting)]


def test_a_plot_when_its_cells_are_done_then_is_a_sheet_with_the_recipe_a1111_writes(
    studio: Studio,
) -> None:
    script = xyz(x=("Steps", "2-4 (+2)"), y=("CFG Scale", "5, 7.5"))

    job = ended(studio, studio.plots.submit(wish(), script))

    assert job.state == "done"
    (sheet,) = studio.library.images_of(job.id)
    image, (text, _) = Image.open(sheet.path), read_infotext(sheet.path)
    assert sheet.kind == "grid" and image.width > 128 and image.height > 128
    assert sheet.path.parent.parent.name == "txt2img-grids"
    assert text is not None and text.endswith(
        "Script: X/Y/Z plot, X Type: Steps, X Values: 2-4 (+2), "
        'Y Type: CFG Scale, Y Values: "5, 7.5"'
    )
    assert [(c.steps, c.cfg_scale) for c in cells_of(studio, job)] == [
        (2, 5.0), (4, 5.0), (2, 7.5), (4, 7.5),
    ]  # fmt: skip
    assert {c.seed for c in cells_of(studio, job)} == {7}


def test_a_plot_when_a_cell_fails_then_the_rest_is_painted_and_the_hole_is_told(
    studio: Studio,
) -> None:
    script = xyz(x=("Prompt S/R", "cat, fail, dog"))

    job = ended(studio, studio.plots.submit(wish(), script))

    assert job.state == "done" and job.result == {**(job.result or {}), "cells": 3, "holes": 1}
    assert "1 of 3 cells have no picture" in job.warnings[0]
    assert "8 GiB were needed" in job.warnings[0]


def test_a_plot_when_every_cell_fails_then_it_fails_with_their_reason(studio: Studio) -> None:
    script = xyz(x=("Seed", "1, 2"))

    job = ended(studio, studio.plots.submit(wish(prompt="fail"), script))

    assert job.state == "failed" and "8 GiB were needed" in (job.error or {})["message"]


def test_interrupt_when_a_cell_is_painted_then_ends_the_group_and_keeps_what_there_is(
    studio: Studio,
) -> None:
    script = xyz(x=("Prompt S/R", "cat, stuck"), y=("Seed", "1-3"))
    job = studio.plots.submit(wish(), script)
    wait_until(lambda: studio.jobs.part_states(job.id).get("done") == 1)
    wait_until(lambda: bool(studio.live.running()) and studio.live.running()[0].preview_id > 0)

    studio.control.interrupt()

    done = ended(studio, job)
    assert studio.jobs.part_states(job.id) == {"done": 1, "cancelled": 5}
    assert done.state == "done" and len(studio.library.images_of(job.id)) == 1


def test_cancel_when_no_cell_was_begun_then_nothing_is_painted_at_all(studio: Studio) -> None:
    studio.supervisor.pause()
    job = studio.plots.submit(wish(), xyz(x=("Seed", "1-3")))

    studio.control.cancel(job.id)
    studio.supervisor.resume()

    assert ended(studio, job).state == "cancelled"
    assert studio.jobs.part_states(job.id) == {"cancelled": 3}


def test_a_plot_when_the_program_ends_in_the_middle_then_goes_on_after_the_start(
    make_studio: Callable[..., Studio], tmp_path: Path
) -> None:
    first = make_studio(tmp_path)
    script = xyz(x=("Prompt S/R", "cat, slow cat"), y=("Seed", "1-3"))
    job = first.plots.submit(wish(steps=20), script)
    wait_until(lambda: first.jobs.part_states(job.id).get("done", 0) >= 2)
    first.stop()

    second = make_studio(tmp_path)

    done = ended(second, job)
    assert done.state == "done" and second.jobs.part_states(job.id) == {"done": 6}
    assert done.result is not None and done.result["holes"] == 0


def test_repeat_when_it_is_a_plot_then_asks_for_the_same_cells(studio: Studio) -> None:
    job = ended(studio, studio.plots.submit(wish(), xyz(x=("Seed", "-1, 5"))))

    again = ended(studio, studio.control.repeat(job.id))

    assert again.id != job.id and again.state == "done"
    assert [c.to_json() for c in cells_of(studio, again)] == [
        c.to_json() for c in cells_of(studio, job)
    ]


def test_sub_grids_when_wanted_then_each_is_kept_without_the_third_axis(studio: Studio) -> None:
    values = xyz(x=("Seed", "1, 2"), z=("Steps", "2, 3"))

    job = ended(studio, studio.plots.submit(wish(), {**values, "include_sub_grids": True}))

    texts = [picture.infotext for picture in studio.library.images_of(job.id)]
    assert ["Z Type" in text for text in texts] == [True, False, False]
    assert "Steps: 3" in texts[2]


def test_cells_when_checkpoints_differ_then_are_painted_group_by_group() -> None:
    def cell(checkpoint: str, vae: str = "Automatic", prompt: str = "") -> Painting:
        return TextToImage(checkpoint=checkpoint, vae=vae, prompt=prompt)

    cells = [
        cell("a"), cell("b"), cell("a", "v"), cell("b", prompt="<lora:x:1>"),
        cell("a", prompt="<lora:x:1>"), cell("b"), cell("a"),
    ]  # fmt: skip

    assert quick_order(cells) == [0, 6, 4, 2, 1, 5, 3]


def test_foretell_when_asked_then_counts_and_submits_nothing(studio: Studio) -> None:
    before = studio.jobs.counts()
    script = xyz(x=("Seed", "1-4"), y=("Size", "64x128, 128x64"))

    size = studio.plots.foretell(wish(batch_count=2), script)

    assert (size.cells, size.pictures, size.columns, size.rows) == (8, 16, 4, 2)
    assert size.megapixels == pytest.approx(8 * 128 * 128 / 1e6)
    assert studio.jobs.counts() == before


@pytest.mark.parametrize("across, down", [(16, 16), (8, 32), (10, 10), (7, 7), (1000, 1)])
def test_fair_share_when_cells_are_many_then_rows_and_columns_have_a_like_share(
    across: int, down: int
) -> None:
    places = fair_share(across * down, 48)
    assert len(set(places)) == 48 and max(places) < across * down
    for lines, of in ((across, lambda place: place % across), (down, lambda p: p // across)):
        met = Counter(map(of, places))
        assert max(met.values()) <= 2 * max(1, 48 / lines) + 1
        assert lines > 48 or len(met) == lines, "every one is met"


def test_foretell_when_an_axis_cannot_be_used_then_says_which(studio: Studio) -> None:
    for axes, told in (
        (xyz(x=("Stepz", "1")), "Stepz"),
        (xyz(x=("Steps", "")), "has no values"),
        (xyz(x=("Hires steps", "1")), "Hires. fix is off"),
        (xyz(x=("Prompt S/R", "dog, cat")), "in neither prompt"),
        (xyz(x=("Steps", "1-100"), y=("Seed", "1-100")), "10000 cells"),
    ):
        with pytest.raises(ParamsError, match=told):
            studio.plots.foretell(wish(), axes)


def test_replace_when_a_waiting_job_is_edited_then_keeps_its_place_until_it_is_let_go(
    studio: Studio,
) -> None:
    studio.supervisor.pause()
    edited, other = (studio.submit(wish(steps=n), client="tab") for n in (2, 3))

    studio.control.edit(edited.id, "tab")
    assert not studio.control.replace(wish(steps=5), "another tab")
    assert studio.control.replace(wish(steps=5), "tab")
    assert not studio.control.replace(wish(), "tab")
    studio.control.edit(other.id, "tab")
    studio.control.resume_job(other.id)
    assert not studio.control.replace(wish(steps=6), "tab")

    assert [job.id for job in studio.jobs.waiting()] == [edited.id, other.id]
    steps = [studio.params_of(studio.jobs.get(job.id)) for job in (edited, other)]
    assert [params.steps for params in steps if isinstance(params, Painting)] == [5, 3]
    studio.supervisor.resume()
    assert ended(studio, edited).state == ended(studio, other).state == "done"
