"""The fields of the Restore tab into requests; what is missing is named. No browser."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.ui.serve import FAKE_WORKER
from webui import video
from webui.errors import CheckpointNotFoundError, JobError, LibraryError, ParamsError
from webui.library.faces import FoundFace
from webui.params import Extras, RestoreVideo, build, from_json
from webui.restoration.recipe import extras_pairs
from webui.settings import read_settings
from webui.studio import Studio
from webui.ui import batch, canvas, cards, queue_tab, restore, restore_cards, restore_videos
from webui.ui.restore_form import (
    BOTH,
    DEFAULTS,
    FACES,
    WHOLE,
    first_choice,
    make_fetch,
    make_plan,
    make_requests,
    refuse,
)
from webui.ui.restore_videos import VideoFile, write_videos
from webui.ui.session import Visitor


def form(studio: Studio, count: int = 1, **changed: Any) -> dict[str, Any]:
    files = [
        batch.BatchFile(
            studio.inputs.keep_image(Image.new("RGB", (32, 24), (number, 90, 40))), f"aunt {number}"
        )
        for number in range(count)
    ]
    return {**DEFAULTS, "batch_files": batch.write_uploads(files), **changed}


def ask(studio: Studio, count: int = 1, **changed: Any) -> Extras:
    (request,), _ = make_requests(form(studio, count, **changed), studio, "en", user="")
    assert isinstance(request, Extras)
    return request


def test_form_and_defaults_name_the_same_fields() -> None:
    assert {f.name for f in dataclasses.fields(restore.RestoreForm)} == set(DEFAULTS)


def test_whole_picture_without_networks_is_enlarged_with_lanczos_and_the_card_says_so(
    studio: Studio,
) -> None:
    given = form(studio, what=WHOLE)
    plan = make_plan(given, studio)
    request = ask(studio, what=WHOLE)
    assert (request.upscaler_1, request.gfpgan_visibility) == ("Lanczos", 0)
    assert plan.upscalers == ("Lanczos",) and plan.to_fetch == ("R-ESRGAN 4x+",)
    html = restore_cards.plan_view(plan, Path("/models"), "en")
    assert "adds no detail" in html and "BSD-3-Clause" in html


def test_batch_of_the_page_leaves_bad_pictures_out_and_goes_on(studio: Studio) -> None:
    assert ask(studio, 3, what=WHOLE).skips_bad


def test_weights_on_the_way_are_not_fetched_once_more(studio: Studio) -> None:
    given = form(studio, what=FACES)
    job = studio.submit(make_fetch(["CenterFace"], ""), client="another browser")
    plan = make_plan(given, studio)
    assert (plan.wanted, plan.to_fetch, plan.fetch_megabytes) == (("CenterFace",), (), 0)
    both = make_plan({**given, "what": BOTH}, studio)
    assert both.to_fetch == ("R-ESRGAN 4x+",) and both.fetch_megabytes == 46
    studio.control.cancel(job.id)
    assert make_plan(given, studio).to_fetch == ("CenterFace",)


# Scratches drawn by hand


def drawn(studio: Studio, given: dict[str, Any]) -> str:
    """The given form's photograph with a stroke over its middle."""
    (file,) = batch.read_uploads(given["batch_files"])
    strokes = Image.new("RGBA", (32, 24))
    strokes.paste((255, 0, 0, 255), (10, 8, 20, 12))
    over = canvas.holding(studio.inputs, file.key)
    return dataclasses.replace(over, strokes=studio.inputs.keep_image(strokes)).to_value()


def test_scratches_drawn_over_the_photograph_are_the_mask_of_its_request(studio: Studio) -> None:
    given = form(studio, what=WHOLE)
    given["scratch_drawing"] = drawn(studio, given)
    (request,), _ = make_requests(given, studio, "en", user="")
    assert isinstance(request, Extras) and request.scratch_mask
    mask = studio.inputs.image(request.scratch_mask).convert("L")
    assert mask.getbbox() == (10, 8, 20, 12)
    assert extras_pairs(request)["Scratch repair"] == "drawn"


def test_scratches_drawn_over_another_picture_are_refused_and_none_over_several(
    studio: Studio,
) -> None:
    given = form(studio, what=WHOLE)
    over = canvas.read(drawn(studio, given))
    assert over is not None
    other = dataclasses.replace(over, picture="0" * 64).to_value()
    with pytest.raises(ParamsError, match="another picture"):
        make_requests({**given, "scratch_drawing": other}, studio, "en", user="")
    several = ask(studio, 2, what=WHOLE, scratch_drawing=over.to_value())
    assert several.scratch_mask is None
    blank = ask(
        studio, what=WHOLE, scratch_drawing=dataclasses.replace(over, strokes="").to_value()
    )
    assert blank.scratch_mask is None


# Videos


def film(studio: Studio, folder: Path) -> str:
    (folder / "home.mp4").write_bytes(b"moving pictures")
    key = studio.inputs.keep_video(folder / "home.mp4")
    return write_videos([VideoFile(key, "home", 64, 48, 25, 1.0)])


def test_videos_and_photographs_become_a_job_each_kind(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "_which", lambda name: f"/bin/{name}")
    given = form(studio, 2, what=WHOLE, video_files=film(studio, tmp_path))
    (photographs, moving), skipped = make_requests(given, studio, "en", user="ann")
    assert isinstance(photographs, Extras) and len(photographs.images) == 2
    assert isinstance(moving, RestoreVideo) and skipped == []
    assert (moving.name, moving.user, moving.upscaler_1) == ("home", "ann", "Lanczos")
    assert from_json(moving.to_json()) == moving
    assert studio.inputs.path(moving.input_keys[0]).read_bytes() == b"moving pictures"


def test_video_alone_is_enough_and_a_folder_takes_its_place(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "_which", lambda name: f"/bin/{name}")
    given = form(studio, 0, what=WHOLE, video_files=film(studio, tmp_path))
    (moving,), _ = make_requests(given, studio, "en", user="")
    assert isinstance(moving, RestoreVideo)
    with pytest.raises(ParamsError):
        make_requests({**given, "batch_source": "From directory"}, studio, "en", user="")


def test_video_without_ffmpeg_is_no_request_and_the_plan_names_what_is_missing(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "_which", lambda name: None)
    given = form(studio, 1, what=WHOLE, video_files=film(studio, tmp_path))
    assert make_plan(given, studio).programs == ("ffmpeg", "ffprobe")
    assert make_plan({**given, "video_files": "[]"}, studio).programs == ()
    with pytest.raises(LibraryError, match="ffmpeg and ffprobe"):
        make_requests(given, studio, "en", user="")
    html = restore_cards.plan_view(make_plan(given, studio), Path("/models"), "zh")
    assert "处理视频需要 ffmpeg, ffprobe" in html and "winget install ffmpeg" in html


def test_finished_video_lies_beside_the_pictures_is_listed_and_its_parts_go(
    studio: Studio, tmp_path: Path
) -> None:
    params = build("restore-video", {"video": "a" * 64, "name": "home"})
    assert isinstance(params, RestoreVideo)
    folder = studio.videos.parts_folder(4)
    folder.mkdir(parents=True)
    (folder / "finished.mp4").write_bytes(b"film")
    event = {
        "path": str(folder / "finished.mp4"), "width": 64, "height": 48, "frames": 25, "rate": 25.0,
        "seconds": 1.0, "is_part": True, "infotext": "Postprocess upscaler: Lanczos",
    }  # fmt: skip
    outputs = tmp_path / "outputs"
    saved = studio.videos.keep(4, event, "home", params.output, outputs, client="me")
    assert saved.path.read_bytes() == b"film" and saved.path.name == "00000-home.mp4"
    assert saved.path.is_relative_to(outputs) and not folder.exists()
    assert studio.videos.of(4) == saved and studio.videos.recent("me") == [saved]
    assert studio.videos.recent("somebody else") == []
    view = restore_videos.video_view(saved, "en")
    assert "first part" in view and "0:01" in view and "ui/video/4" in view
    saved.path.unlink()
    assert studio.videos.recent("me") == [] and not saved.is_there


def test_parts_of_videos_that_nobody_finishes_are_removed(studio: Studio) -> None:
    for job in (3, 5):
        studio.videos.parts_folder(job).mkdir(parents=True)
    studio.videos.remove_parts({5})
    assert not studio.videos.parts_folder(3).exists() and studio.videos.parts_folder(5).exists()


def test_faces_without_weights_name_file_licence_and_folder(studio: Studio) -> None:
    given = form(studio, what=FACES)
    with pytest.raises(CheckpointNotFoundError, match=r"GFPGANv1\.4\.pth"):
        make_requests(given, studio, "en", user="")
    plan = make_plan(given, studio)
    assert [known.name for known in plan.missing] == ["GFPGAN v1.4", "CenterFace"]
    assert plan.to_fetch == ("CenterFace",) and plan.fetch_megabytes == 7
    html = restore_cards.plan_view(plan, Path("/models"), "en")
    assert "/models/GFPGAN/GFPGANv1.4.pth (349 MB)" in html and "Apache-2.0" in html
    assert first_choice(studio) == WHOLE
    assert make_fetch(plan.to_fetch, "").names == ("CenterFace",)


def test_codeformer_that_is_chosen_names_its_licence(studio: Studio) -> None:
    plan = make_plan(form(studio, what=FACES, gfpgan_visibility=0, codeformer_visibility=1), studio)
    assert "non-commercial" in restore_cards.plan_view(plan, Path("/models"), "en")


def test_faces_with_every_way_at_zero_say_so(studio: Studio) -> None:
    with pytest.raises(ParamsError, match="Nothing is to be done"):
        ask(studio, what=FACES, gfpgan_visibility=0)


def test_several_photographs_are_one_job_with_their_names(studio: Studio) -> None:
    request = ask(studio, 3, what=WHOLE, upscaling_resize=4)
    assert request.names == ("aunt 0", "aunt 1", "aunt 2")
    assert (request.image_count, request.upscaling_resize) == (3, 4)
    assert request.output.save and not request.output.grid


def test_without_a_photograph_the_person_is_told(studio: Studio) -> None:
    with pytest.raises(ParamsError, match="no photograph"):
        ask(studio, 0, what=WHOLE)


def test_unknown_upscaler_is_no_silent_other_one(studio: Studio) -> None:
    with pytest.raises(ParamsError, match="foo"):
        ask(studio, what=WHOLE, upscaler_1="foo")
    with pytest.raises(CheckpointNotFoundError, match="realesr-general"):
        ask(studio, what=WHOLE, upscaler_1="R-ESRGAN General 4xV3")


def test_folder_of_photographs_goes_to_a_folder_under_their_names(
    studio: Studio, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (16, 16)).save(folder / name)
    (folder / "broken.png").write_bytes(b"no picture")
    given = form(
        studio, 0, what=WHOLE, batch_source=batch.FOLDER, batch_input_dir=str(folder),
        batch_output_dir=str(out),
    )  # fmt: skip
    requests, skipped = make_requests(given, studio, "en", user="")
    assert [r.output.file_stem for r in requests] == ["a", "b"]
    assert {r.output.folder for r in requests} == {str(out)}
    assert len(skipped) == 1 and "broken.png" in skipped[0]


def test_folders_are_refused_where_other_machines_reach_the_page(tmp_path: Path) -> None:
    flags = ["--data-dir", str(tmp_path / "d"), "--listen", "--gradio-auth", "a:b"]
    settings = read_settings(flags, environ={})
    studio = Studio(settings, worker_command=FAKE_WORKER)
    try:
        given = form(studio, 0, batch_source=batch.FOLDER, batch_input_dir=str(tmp_path))
        with pytest.raises(ParamsError, match="no other machine"):
            make_requests(given, studio, "en", user="")
    finally:
        studio.stop()


def face(number: int, image: int = 0, **changed: Any) -> FoundFace:
    values = {
        "image": image, "number": number, "box": (0, 0, 9, 9), "score": 0.9, "distance": 0.2,
        "is_pasted": True, "before": "a" * 64, "after": "b" * 64,
    }  # fmt: skip
    return FoundFace(**{**values, **changed})


def test_faces_are_shown_with_words_ticks_and_both_crops() -> None:
    found = [face(0), face(1, distance=0.7, is_pasted=False), face(0, image=1)]
    html = restore_cards.faces(found, 5, 0, "en")
    assert html.count("data-face=") == 2 and html.count(" checked") == 1
    assert "changed a little" in html and "someone else" in html
    assert f"ui/input/{'a' * 64}" in html and f"ui/input/{'b' * 64}" in html
    assert restore_cards.faces(found, 5, 2, "en") == ""


def test_refusing_asks_for_that_photograph_alone(studio: Studio) -> None:
    request = ask(studio, 3, what=WHOLE)
    again = refuse(request, 1, [0, 2], "")
    assert again.images == request.images[1:2] and again.names == ("aunt 1",)
    assert [(r.image, r.face) for r in again.refused_faces] == [(0, 0), (0, 2)]


def test_applying_again_needs_a_change_and_the_owner(studio: Studio) -> None:
    job = studio.submit(ask(studio, what=WHOLE), client="me")
    crop = cards_picture()
    message = {"box": [0, 0, 9, 9], "score": 0.9, "distance": 0.1, "is_pasted": True}
    faces = [{**message, "number": n, "before": crop, "after": crop} for n in (0, 1)]
    studio.faces.keep(job.id, 0, faces)
    with pytest.raises(JobError, match="Nothing was changed"):
        restore.submit_again(studio, job.id, 0, [], Visitor("me"), "en")
    with pytest.raises(JobError, match="another person"):
        restore.submit_again(studio, job.id, 0, [1], Visitor("you"), "en")
    restore.submit_again(studio, job.id, 0, [1], Visitor("me"), "en")
    newest = studio.jobs.current("me", ("extras",))
    params = studio.params_of(studio.jobs.waiting()[-1])
    assert newest is not None and isinstance(params, Extras)
    assert [r.face for r in params.refused_faces] == [1]


def cards_picture() -> bytes:
    import io

    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "JPEG")
    return data.getvalue()


def test_queue_tells_photographs_and_weights_without_sizes_or_steps(studio: Studio) -> None:
    studio.submit(ask(studio, 2, what=WHOLE), client="me")
    studio.submit(make_fetch(["CenterFace"], ""), client="me")
    html = queue_tab.render(studio, Visitor("me"), "en")
    assert "aunt 0, aunt 1" in html and "2 pictures" in html and "Only the picture" in html
    assert "Getting CenterFace" in html
    assert "0×0" not in html and "steps" not in html


def test_painting_tabs_do_not_show_photographs_and_the_other_way_round(studio: Studio) -> None:
    from webui.ui.follow import RESTORING_KINDS, look

    job = studio.submit(ask(studio, what=WHOLE), client="me")
    assert look(studio, "me", None, "en").job_id is None
    assert look(studio, "me", None, "en", RESTORING_KINDS).job_id == job.id


def test_job_message_carries_tile_size_from_the_options(studio: Studio) -> None:
    studio.options.set("ESRGAN_tile", 256)
    job = studio.submit(ask(studio, what=WHOLE))
    message = studio.job_files.for_job(job)
    assert message["tiling"] == {"tile": 256, "overlap": studio.options["ESRGAN_tile_overlap"]}
    assert set(message["inputs"]) == set(studio.params_of(job).input_keys)


@pytest.mark.parametrize(
    ("distance", "text"), [(0.05, "face_same"), (0.2, "face_little"), (0.9, "face_other")]
)
def test_change_of_a_face_in_words(distance: float, text: str) -> None:
    assert restore_cards.change_of(distance) == text


def test_progress_of_a_photograph_has_words_of_its_own() -> None:
    from webui.jobs.live import LiveJob

    live = LiveJob(1, 0.0, batch=1, batches=3, step=2, steps=9, stage="upscaling")
    html = cards.progress_bar(live, 10.0, "en")
    assert "part 2/9" in html and "photograph 2/3" in html
