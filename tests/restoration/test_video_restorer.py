"""Jobs of kind restore-video, as the model process runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.films import frames_of, make_film, needs_ffmpeg, sound_of
from tests.heard import Heard
from tests.restoration.test_faces import Found, Inverted, face_at
from webui import video
from webui.errors import CheckpointNotFoundError, LibraryError, WebUIError
from webui.library.inputs import Inputs
from webui.model_process.restorer import JobWeights
from webui.model_process.video_restorer import VideoRun
from webui.params import RestoreVideo, build
from webui.restoration.networks import Shelf


class Asked:
    """Stops after so many frames were told of, or after so many questions."""

    def __init__(self, sent: Heard, frames: int | None, questions: int | None) -> None:
        self._sent, self._frames, self._questions = sent, frames, questions
        self._asked = 0

    @property
    def interrupted(self) -> bool:
        return self.should_stop

    @property
    def should_stop(self) -> bool:
        self._asked += 1
        if self._questions is not None:
            return self._asked > self._questions
        done = [m["step"] for m in self._sent.of("progress") if m["stage"] == "frames"]
        return self._frames is not None and done[-1:] >= [self._frames]

    def clear_skip(self) -> None:
        raise AssertionError("a video has no next picture to go on with")


class Films:
    """Runs jobs on kept videos with a real small upscaler."""

    def __init__(self, folder: Path, upscaler: Path) -> None:
        self.inputs = Inputs(folder / "inputs")
        self.parts = folder / "parts"
        self.sent = Heard()
        self.weights = JobWeights(
            {"upscaler": {"Small 2x": str(upscaler)}}, Shelf(torch.device("cpu"))
        )

    def run(
        self, source: Path, *, stop_after: int | None = None, questions: int | None = None,
        is_made: bool = False, **values: Any,
    ) -> dict[str, Any]:  # fmt: skip
        key = self.inputs.keep_video(source)
        asked = {"upscaler_1": "Small 2x", "video": key, "name": source.stem, **values}
        params = build("restore-video", asked)
        assert isinstance(params, RestoreVideo)
        place = {"folder": str(self.parts), "is_made": is_made}
        message = {"job": 7, "inputs": {key: str(self.inputs.path(key))}, "video": place}
        flags = Asked(self.sent, stop_after, questions)
        run = VideoRun(params, message, self.weights, self.sent, flags)  # type: ignore[arg-type]
        return run.run()

    @property
    def made(self) -> dict[str, Any]:
        (message,) = self.sent.of("video")
        return message

    @property
    def warnings(self) -> list[str]:
        return [m["message"] for m in self.sent.of("warning")]


@pytest.fixture
def films(tmp_path: Path, saved: Callable[..., Path]) -> Films:
    return Films(tmp_path, saved("compact"))


@needs_ffmpeg
def test_video_when_restored_then_size_rate_sound_recipe_and_progress_are_right(
    films: Films, tmp_path: Path
) -> None:
    source = make_film(tmp_path / "home.mp4", rate="30000/1001", seconds=0.4, more=("-c:a", "aac"))
    result = films.run(source)
    made = films.made
    found = video.probe(Path(made["path"]), video.find_programs())
    assert (found.width, found.height, found.rate.denominator) == (96, 64, 1001)
    assert (made["width"], made["height"], made["frames"]) == (96, 64, 12)
    assert not made["is_part"] and films.warnings == []
    assert sound_of(Path(made["path"])) == sound_of(source)
    steps = [(m["step"], m["steps"]) for m in films.sent.of("progress") if m["stage"] == "frames"]
    assert steps == [(number, 12) for number in range(13)]
    assert made["infotext"] == "Postprocess upscale by: 2, Postprocess upscaler: Small 2x"
    assert result["extra_generation_params"]["Postprocess upscaler"] == "Small 2x"
    assert films.sent.of("preview")[0]["image"].startswith(b"\xff\xd8")
    assert [path.name for path in films.parts.iterdir()] == ["finished.mp4"]


@needs_ffmpeg
def test_video_when_restored_then_every_frame_is_what_the_upscaler_makes_of_it(
    films: Films, tmp_path: Path
) -> None:
    source = make_film(tmp_path / "a.mp4", seconds=0.2, sound=False)
    films.run(source, upscaler_1="Nearest")
    before = [np.frombuffer(f, np.uint8).reshape(32, 48, 3) for f in frames_of(source)]
    after = [
        np.frombuffer(f, np.uint8).reshape(64, 96, 3) for f in frames_of(Path(films.made["path"]))
    ]
    assert len(before) == len(after) == 5
    for one, other in zip(before, after, strict=True):
        assert np.abs(other[::2, ::2].astype(int) - one).mean() < 5


@needs_ffmpeg
def test_video_when_sides_come_out_odd_then_the_edge_is_repeated(
    films: Films, tmp_path: Path
) -> None:
    films.run(
        make_film(tmp_path / "a.mp4", seconds=0.1), upscaler_1="Lanczos", upscaling_resize=0.69
    )
    assert (films.made["width"], films.made["height"]) == (34, 22)


@needs_ffmpeg
def test_video_when_stopped_then_what_is_finished_plays_and_is_told(
    films: Films, tmp_path: Path
) -> None:
    result = films.run(make_film(tmp_path / "a.mp4", seconds=2), stop_after=6)
    assert films.made["is_part"] and films.made["frames"] == 6 and result["interrupted"]
    assert len(frames_of(Path(films.made["path"]))) == 6
    assert films.warnings == ["Stopped: the video holds the first 6 of 50 frames (0.2 s)."]


@needs_ffmpeg
def test_video_when_stopped_within_a_frame_then_that_one_is_left_out(
    films: Films, tmp_path: Path
) -> None:
    source = make_film(tmp_path / "a.mp4", size="400x32", seconds=0.4)
    films.weights = JobWeights(
        {"upscaler": films.weights._files["upscaler"]}, Shelf(torch.device("cpu")),
        {"tile": 64, "overlap": 8},
    )  # fmt: skip
    films.run(source, questions=12)
    assert films.made["is_part"] and 0 < films.made["frames"] < 10
    assert len(frames_of(Path(films.made["path"]))) == films.made["frames"]


@needs_ffmpeg
def test_video_when_stopped_before_the_first_frame_then_nothing_is_left(
    films: Films, tmp_path: Path
) -> None:
    assert films.run(make_film(tmp_path / "a.mp4"), stop_after=0)["interrupted"]
    assert films.sent.of("video") == [] and not films.parts.exists()


@needs_ffmpeg
def test_video_when_taken_up_after_a_crash_then_finished_parts_are_kept(
    films: Films, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "PART_SECONDS", 1)
    source = make_film(tmp_path / "a.mp4", seconds=2.4)

    class Crash(Exception):
        pass

    def crash(message: dict[str, Any]) -> None:
        Heard.send(films.sent, message)
        if message["type"] == "progress" and message["step"] == 30:
            raise Crash

    monkeypatch.setattr(films.sent, "send", crash)
    with pytest.raises(Crash):
        films.run(source, upscaler_1="Nearest")
    assert [count for _, count in video.parts_in(films.parts)] == [25]
    monkeypatch.undo()
    films.sent.messages.clear()
    films.run(source, upscaler_1="Nearest")
    assert films.sent.of("progress")[0]["step"] == 25
    after = frames_of(Path(films.made["path"]))
    assert films.made["frames"] == len(after) == 60
    for one, other in zip(frames_of(source), after, strict=True):
        before, now = np.frombuffer(one, np.uint8), np.frombuffer(other, np.uint8)
        small = now.reshape(64, 96, 3)[::2, ::2].astype(int)
        assert np.abs(small - before.reshape(32, 48, 3)).mean() < 6


@needs_ffmpeg
def test_video_when_it_was_made_already_then_it_is_not_made_again(
    films: Films, tmp_path: Path
) -> None:
    films.run(make_film(tmp_path / "a.mp4"), is_made=True)
    assert films.sent.messages == []


@needs_ffmpeg
def test_video_when_cut_short_in_transfer_then_its_readable_frames_are_restored(
    films: Films, tmp_path: Path
) -> None:
    whole = make_film(tmp_path / "a.ts", seconds=2, sound=False)
    short = tmp_path / "b.ts"
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    films.run(short, upscaler_1="Nearest")
    assert 5 < films.made["frames"] < 50


@needs_ffmpeg
def test_video_when_weights_are_missing_then_says_which_and_leaves_nothing(
    films: Films, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"GFPGANv1\.4\.pth"):
        films.run(make_film(tmp_path / "a.mp4"), gfpgan_visibility=1)
    assert films.sent.of("video") == [] and not films.parts.exists()


@needs_ffmpeg
def test_video_when_frames_fail_later_then_the_finished_ones_are_handed_over(
    films: Films, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, seen = VideoRun._restored, []

    def fails(self: VideoRun, pixels: Any) -> Any:
        seen.append(1)
        if len(seen) == 6:
            raise LibraryError("The sixth frame is bad.")
        return original(self, pixels)

    monkeypatch.setattr(VideoRun, "_restored", fails)
    with pytest.raises(WebUIError, match="sixth frame"):
        films.run(make_film(tmp_path / "a.mp4"))
    assert films.made["frames"] == 5 and films.made["is_part"]
    assert len(frames_of(Path(films.made["path"]))) == 5


@needs_ffmpeg
def test_video_when_there_is_no_face_in_it_then_that_is_told_once(
    films: Films, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JobWeights, "detector", lambda self: Found(48, []))
    monkeypatch.setattr(JobWeights, "restorer", lambda self, name, weight: Inverted())
    films.run(make_film(tmp_path / "a.mp4", seconds=0.2), gfpgan_visibility=1)
    assert films.warnings == ["No face was found in any frame, so none was restored."]


@needs_ffmpeg
def test_video_when_there_are_faces_then_they_are_restored_in_every_frame(
    films: Films, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JobWeights, "detector", lambda self: Found(120, [face_at(60, 50, 40)]))
    monkeypatch.setattr(JobWeights, "restorer", lambda self, name, weight: Inverted())
    source = make_film(tmp_path / "a.mp4", size="120x100", seconds=0.12, sound=False)
    films.run(source, gfpgan_visibility=1, upscaler_1="None")
    for one, other in zip(frames_of(source), frames_of(Path(films.made["path"])), strict=True):
        before, after = (np.frombuffer(f, np.uint8).reshape(100, 120, 3) for f in (one, other))
        assert np.abs(after[50, 60].astype(int) + before[50, 60] - 255).mean() < 40
        assert np.abs(after[:8].astype(int) - before[:8]).mean() < 6


def test_video_when_ffmpeg_is_missing_then_the_job_says_how_to_get_it(
    films: Films, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "_which", lambda name: None)
    (tmp_path / "a.mp4").write_bytes(b"anything")
    with pytest.raises(LibraryError, match="ffmpeg and ffprobe") as caught:
        films.run(tmp_path / "a.mp4")
    assert "winget" in caught.value.hint


@needs_ffmpeg
def test_video_when_it_is_none_then_the_job_says_so(films: Films, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all")
    with pytest.raises(LibraryError, match="no video that ffmpeg can read"):
        films.run(tmp_path / "a.mp4")
