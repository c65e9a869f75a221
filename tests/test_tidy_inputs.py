"""Input pictures that a job, a draft, the strip of earlier inputs or a found face names stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from tests.ui.serve import FAKE_WORKER
from webui.errors import LibraryError
from webui.jobs import looking
from webui.library.inputs import UNUSED_DAYS
from webui.pictures import encode
from webui.services.resolve import ImageToImageRequest
from webui.settings import read_settings
from webui.studio import Studio
from webui.ui.canvas import Drawing
from webui.ui.input_history import KEPT_AS


def old_input(studio: Studio, shade: int) -> str:
    key = studio.inputs.keep_image(Image.new("RGB", (64, 64), (shade, 0, 0)))
    os.utime(studio.inputs.path(key), (1, 1))
    return key


def test_tidy_when_something_names_a_picture_then_only_the_others_go(studio: Studio) -> None:
    init, drawn, strokes, earlier, nobodys = (old_input(studio, shade) for shade in range(5))
    studio.submit(ImageToImageRequest(init_images=(init,)))
    studio.drafts.save("me", "img2img", {"inpaint": Drawing(drawn, strokes, 64, 64).to_value()})
    studio.drafts.save("me", KEPT_AS, {"values": [Drawing(earlier).to_value()]})
    face = {
        "number": 0, "box": (0, 0, 8, 8), "score": 1.0, "distance": 0.0, "is_pasted": True,
        "before": _png(90), "after": _png(91),
    }  # fmt: skip
    studio.faces.keep(1, 0, [face])
    found = studio.faces.of(1)[0]
    for key in (found.before, found.after):
        os.utime(studio.inputs.path(key), (1, 1))

    assert studio.tidying.input_pictures() == 1

    for key in (init, drawn, strokes, earlier, found.before, found.after):
        assert studio.inputs.path(key).is_file()
    with pytest.raises(LibraryError):
        studio.inputs.path(nobodys)


def test_tidy_when_a_finished_job_names_a_picture_then_it_stays(studio: Studio) -> None:
    key = old_input(studio, 7)
    job = studio.submit(ImageToImageRequest(init_images=(key,)))
    studio.control.cancel(job.id)

    assert studio.tidying.input_pictures() == 0
    assert studio.inputs.path(key).is_file()


def test_tidy_when_there_are_many_jobs_then_all_are_asked(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "ROWS_AT_ONCE", 2)
    keys = [old_input(studio, shade) for shade in range(5)]
    for key in keys:
        studio.submit(ImageToImageRequest(init_images=(key,)), forever=True)

    assert studio.tidying.input_pictures() == 0
    assert len(list(studio.jobs.requests())) == 10


def test_tidy_when_the_studio_runs_then_it_ends_with_it(tmp_path: Path) -> None:
    assert UNUSED_DAYS >= 1
    made = Studio(
        read_settings(["--data-dir", str(tmp_path / "data")], environ={}),
        worker_command=FAKE_WORKER,
    )
    made.start()
    assert made.tidying.is_at_work
    made.stop()
    assert not made.tidying.is_at_work


def _png(shade: int) -> bytes:
    return encode(Image.new("RGB", (8, 8), (shade, 0, 0)))
