"""Videos: what is asked of ffmpeg, and, where it is installed, what comes of it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.films import frames_of, make_film, needs_ffmpeg, sound_of, times_of
from webui import video
from webui.errors import LibraryError
from webui.video import Frames, Parts, Programs, VideoFacts, read_facts

PROGRAMS = Programs("/bin/ffmpeg", "/bin/ffprobe")
FACTS = VideoFacts(64, 48, Fraction(30000, 1001), 90, 3.003, ("aac",))


def stream(**changed: Any) -> dict[str, Any]:
    plain = {
        "codec_type": "video", "width": 720, "height": 576, "r_frame_rate": "25/1",
        "avg_frame_rate": "25/1", "sample_aspect_ratio": "1:1", "duration": "4.0",
    }  # fmt: skip
    return {**plain, **changed}


def facts(**changed: Any) -> VideoFacts:
    return read_facts({"streams": [stream(**changed)], "format": {"duration": "4.2"}})


# Without ffmpeg: what is found, what is asked


def test_programs_when_missing_then_named_with_a_way_for_each_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(video, "_ALSO_HERE", ())
    assert video.missing_programs() == ("ffmpeg", "ffprobe")
    with pytest.raises(LibraryError, match="ffmpeg and ffprobe") as caught:
        video.find_programs()
    for word in ("Windows", "winget", "macOS", "brew", "Linux", "apt"):
        assert word in caught.value.hint


@pytest.mark.skipif(os.name == "nt", reason="programs are found by their mode on Unix")
def test_programs_when_one_is_there_then_the_other_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(video, "_ALSO_HERE", ())
    assert video.missing_programs() == ("ffprobe",)


def test_facts_when_plain_then_size_rate_and_length_are_the_files() -> None:
    found = facts()
    assert (found.width, found.height, found.rate) == (720, 576, 25)
    assert (found.frames, found.seconds, found.sound) == (100, 4.0, ())


@pytest.mark.parametrize(
    ("changed", "size"),
    [
        ({"sample_aspect_ratio": "16:15"}, (768, 576)),
        ({"sample_aspect_ratio": "0:1"}, (720, 576)),
        ({"side_data_list": [{"rotation": -90}]}, (576, 720)),
        ({"side_data_list": [{"rotation": 180}]}, (720, 576)),
        ({"tags": {"rotate": "270"}}, (576, 720)),
    ],
)
def test_facts_when_pixels_or_the_picture_lie_otherwise_then_frames_are_as_seen(
    changed: dict[str, Any], size: tuple[int, int]
) -> None:
    found = facts(**changed)
    assert (found.width, found.height) == size


@pytest.mark.parametrize(
    ("nominal", "mean", "rate"),
    [
        ("30000/1001", "30000/1001", Fraction(30000, 1001)),
        ("25/1", "2499/100", Fraction(25)),
        ("90000/1", "30/1", Fraction(30)),
        ("0/0", "24/1", Fraction(24)),
    ],
)
def test_facts_when_a_phones_rate_varies_then_its_mean_counts(
    nominal: str, mean: str, rate: Fraction
) -> None:
    assert facts(r_frame_rate=nominal, avg_frame_rate=mean).rate == rate


@pytest.mark.parametrize(
    "streams",
    [
        [],
        [{"codec_type": "audio", "codec_name": "mp3"}],
        [stream(disposition={"attached_pic": 1})],
        [stream(width=0)],
        [stream(r_frame_rate="0/0", avg_frame_rate="0/0")],
        [stream(r_frame_rate="100000/1", avg_frame_rate="100000/1")],
    ],
)
def test_facts_when_there_is_no_moving_picture_then_says_so(streams: list[Any]) -> None:
    with pytest.raises(LibraryError, match="no video"):
        read_facts({"streams": streams})


def test_reading_when_asked_then_play_lists_are_never_opened_and_rate_is_even() -> None:
    command = video.read_command(Path("/in/-v.mp4"), FACTS, PROGRAMS)
    allowed = command[command.index("-format_whitelist") + 1].split(",")
    assert not {"hls", "concat", "dash", "applehttp"} & set(allowed)
    assert command[command.index("-i") + 1] == "file:/in/-v.mp4"
    assert "fps=30000/1001" in command[command.index("-vf") + 1]
    assert "yadif" not in " ".join(command)
    woven = VideoFacts(64, 48, Fraction(25), 1, 1, is_interlaced=True)
    assert "yadif" in " ".join(video.read_command(Path("a"), woven, PROGRAMS))


def test_reading_when_hd_does_not_tell_its_colours_then_they_are_those_of_hd() -> None:
    def matrix(height: int, is_tagged: bool) -> str:
        found = VideoFacts(8, height, Fraction(25), 1, 1, is_tagged=is_tagged)
        return " ".join(video.read_command(Path("a"), found, PROGRAMS))

    assert "in_color_matrix=bt709" in matrix(720, False)
    assert "in_color_matrix=auto" in matrix(720, True)
    assert "in_color_matrix=auto" in matrix(576, False)


@pytest.mark.parametrize(
    ("sound", "is_copied"),
    [(("aac",), True), ((), True), (("aac", "pcm_s16le"), False), (("wmav2",), False)],
)
def test_joining_when_mp4_takes_the_sound_then_it_is_kept_as_it_is(
    sound: tuple[str, ...], is_copied: bool
) -> None:
    found = VideoFacts(8, 8, Fraction(25), 50, 2, sound)
    command = video.join_command(Path("l"), Path("s"), found, Path("g"), "recipe", PROGRAMS)
    assert (command[command.index("-c:a") + 1] == "copy") is is_copied
    assert "-t" not in command
    cut = video.join_command(Path("l"), Path("s"), found, Path("g"), "r", PROGRAMS, frames=30)
    assert cut[cut.index("-t") + 1] == "1.200000"


FAKE = """#!{python}
import sys
args = sys.argv[1:]
if "-encoders" in args:
    print(" V....D {encoder}  an encoder")
elif "rawvideo" in args and "pipe:1" in args:
    sys.stdout.buffer.write(bytes(range(48)) * {frames} + b"cut short")
    print("{said}", file=sys.stderr)
    sys.exit({code})
else:
    data = sys.stdin.buffer.read({reads})
    open(args[-1].removeprefix("file:"), "wb").write(data)
    print("a sentence", file=sys.stderr); print("{said}", file=sys.stderr)
    sys.exit({code})
"""


def fake(folder: Path, **values: Any) -> Programs:
    """A program that behaves as ffmpeg does, as far as pipes go."""
    plain = {"python": sys.executable, "encoder": "libx264", "frames": 3, "code": 0, "reads": -1}
    path = folder / "fake-ffmpeg"
    path.write_text(FAKE.format(**{**plain, "said": "why", **values}))
    path.chmod(0o755)
    return Programs(str(path), str(path))


SMALL = VideoFacts(4, 4, Fraction(2), 3, 1.5)
unix = pytest.mark.skipif(os.name == "nt", reason="a script stands in for ffmpeg")


@unix
def test_frames_when_read_then_whole_ones_come_and_the_rest_is_left(tmp_path: Path) -> None:
    with Frames(Path("a"), SMALL, fake(tmp_path)) as frames:
        assert list(frames) == [bytes(range(48))] * 3
        assert frames.problem == ""
    with Frames(Path("a"), SMALL, fake(tmp_path), first=2) as frames:
        assert len(list(frames)) == 1


@unix
def test_frames_when_the_reader_fails_then_its_reason_is_told(tmp_path: Path) -> None:
    with Frames(Path("a"), SMALL, fake(tmp_path, code=1, said="broken packet")) as frames:
        assert len(list(frames)) == 3
        assert frames.problem == "broken packet"


@unix
def test_frames_when_left_early_then_the_program_has_ended(tmp_path: Path) -> None:
    with Frames(Path("a"), SMALL, fake(tmp_path, frames=10**6)) as frames:
        next(iter(frames))
    assert frames._process.poll() is not None


@unix
def test_parts_when_written_then_each_holds_ten_seconds(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "p", Fraction(2), "libx264", fake(tmp_path))
    (tmp_path / "p").mkdir()
    for number in range(45):
        parts.write(bytes([number]) * 48, (4, 4))
    parts.finish()
    found = video.parts_in(tmp_path / "p")
    assert [count for _, count in found] == [20, 20, 5]
    assert found[1][0].read_bytes()[:1] == bytes([20])
    assert found[2][0].stat().st_size == 5 * 48


@unix
def test_parts_when_dropped_then_only_whole_ones_stay(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    parts = Parts(tmp_path / "p", Fraction(2), "libx264", fake(tmp_path))
    for _ in range(25):
        parts.write(bytes(48), (4, 4))
    parts.drop()
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["part-00000-20.mp4"]


@unix
@pytest.mark.parametrize(
    ("said", "message"),
    [("No space left on device", "disk is full"), ("width too large", "width too large")],
)
def test_parts_when_the_encoder_fails_then_its_reason_is_told(
    tmp_path: Path, said: str, message: str
) -> None:
    parts = Parts(tmp_path, Fraction(2), "libx264", fake(tmp_path, said=said, code=1))
    parts.write(bytes(48), (4, 4))
    with pytest.raises(LibraryError, match=message):
        parts.finish()
    assert video.parts_in(tmp_path) == []


@unix
def test_parts_when_the_encoder_ends_early_then_writing_says_why(tmp_path: Path) -> None:
    programs = fake(tmp_path, said="gone", code=1, reads=1)
    parts = Parts(tmp_path, Fraction(2), "libx264", programs)
    with pytest.raises(LibraryError, match="gone"):
        for _ in range(19):
            parts.write(bytes(480_000), (400, 400))


@unix
def test_encoder_when_ffmpeg_has_few_then_the_best_of_them_or_a_clear_answer(
    tmp_path: Path,
) -> None:
    assert video.choose_encoder(fake(tmp_path, encoder="libvpx-vp9")) == "libvpx-vp9"
    with pytest.raises(LibraryError, match="built without"):
        video.choose_encoder(fake(tmp_path, encoder="mpeg2video"))


def test_join_when_nothing_is_finished_then_says_so(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="No frame"):
        video.join(tmp_path, tmp_path / "a", FACTS, tmp_path / "b", "", PROGRAMS)


# With ffmpeg


@needs_ffmpeg
def test_film_when_taken_apart_and_joined_then_frames_times_and_sound_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "PART_SECONDS", 1)
    source = make_film(tmp_path / "a.mp4", rate="30000/1001", seconds=2.5, more=("-c:a", "aac"))
    programs = video.find_programs()
    found = video.probe(source, programs)
    folder = tmp_path / "parts"
    folder.mkdir()
    parts = Parts(folder, found.rate, video.choose_encoder(programs), programs)
    with Frames(source, found, programs) as frames:
        for frame in frames:
            parts.write(frame, (48, 32))
    parts.finish()
    assert [count for _, count in video.parts_in(folder)] == [30, 30, 15]
    goal = tmp_path / "b.mp4"
    assert video.join(folder, source, found, goal, "Postprocess: none", programs) == 75
    assert list(folder.iterdir()) == []
    before, after = (np.frombuffer(b"".join(frames_of(p)), np.uint8) for p in (source, goal))
    assert before.shape == after.shape
    assert np.abs(before.astype(int) - after).mean() < 6
    steps = np.diff(times_of(goal))
    assert len(steps) == 74 and np.allclose(steps, 1001 / 30000, atol=2e-5)
    assert sound_of(goal) == sound_of(source)
    assert video.probe(goal, programs).rate == Fraction(30000, 1001)


@needs_ffmpeg
@pytest.mark.parametrize("colour", [(200, 40, 40), (40, 200, 40), (40, 40, 200), (128, 128, 128)])
def test_film_when_written_and_read_then_colours_stay(
    tmp_path: Path, colour: tuple[int, int, int]
) -> None:
    programs, goal = video.find_programs(), tmp_path / "a.mp4"
    encoder = video.choose_encoder(programs)
    command = video.write_command(encoder, (48, 32), Fraction(25), goal, programs)
    subprocess.run(command, input=bytes(colour) * (48 * 32 * 3), check=True)
    frame = np.frombuffer(frames_of(goal)[0], np.uint8).reshape(-1, 3)
    assert np.abs(frame.mean(0) - colour).max() < 3


@needs_ffmpeg
def test_film_when_it_is_stopped_then_sound_ends_with_the_last_frame(tmp_path: Path) -> None:
    source = make_film(tmp_path / "a.mkv", seconds=2, more=("-c:a", "pcm_s16le"))
    programs = video.find_programs()
    found, folder = video.probe(source, programs), tmp_path / "parts"
    folder.mkdir()
    parts = Parts(folder, found.rate, video.choose_encoder(programs), programs)
    with Frames(source, found, programs) as frames:
        for _, frame in zip(range(10), frames, strict=False):
            parts.write(frame, (48, 32))
    parts.finish()
    goal = tmp_path / "b.mp4"
    video.join(folder, source, found, goal, "", programs, is_cut=True)
    made = video.probe(goal, programs)
    assert (made.frames, made.sound) == (10, ("aac",))
    assert video.probe(source, programs).seconds == pytest.approx(2, abs=0.1)


@needs_ffmpeg
def test_probe_when_it_is_no_video_or_a_play_list_then_refused(tmp_path: Path) -> None:
    programs = video.find_programs()
    secret = make_film(tmp_path / "secret.ts", seconds=0.2)
    texts = {
        "text.mp4": "hello",
        "list.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "concat.mp4": f"ffconcat version 1.0\nfile '{secret}'\n",
        "empty.mp4": "",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(LibraryError, match="no video that ffmpeg can read"):
            video.probe(tmp_path / name, programs)


@needs_ffmpeg
def test_film_when_a_phone_held_it_sideways_then_frames_stand_upright(tmp_path: Path) -> None:
    plain = make_film(tmp_path / "a.mp4", size="64x32", seconds=0.4)
    turned = tmp_path / "b.mp4"
    subprocess.run(
        [video.find_programs().ffmpeg, "-v", "error", "-i", str(plain), "-c", "copy",
         "-metadata:s:v:0", "rotate=90", str(turned)], check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    found = video.probe(turned, video.find_programs())
    if (found.width, found.height) == (64, 32):
        pytest.skip("this ffmpeg writes no rotation")
    upright = np.frombuffer(frames_of(turned)[0], np.uint8).reshape(64, 32, 3)
    lying = np.frombuffer(frames_of(plain)[0], np.uint8).reshape(32, 64, 3)
    apart = [np.abs(np.rot90(lying, k).astype(int) - upright).mean() for k in (1, 3)]
    assert min(apart) < 6
