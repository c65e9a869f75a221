"""Videos, frame by frame: ffmpeg takes them apart and puts them together again.

ffmpeg is not part of this program; it is asked for when a video is to be restored. It runs as a
program of its own, with its arguments in a list. Frames travel through pipes, one at a time; on
the disk lie only parts of the result of some seconds each, so that an interrupted or crashed job
keeps what is finished.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

from webui.errors import LibraryError

SUFFIXES: Final = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
    ".wmv", ".flv", ".3gp", ".vob", ".ogv", ".dv",
)  # fmt: skip
NEEDED: Final = ("ffmpeg", "ffprobe")
PART_SECONDS: Final = 10
PROBE_SECONDS: Final = 60
END_SECONDS: Final = 120
"""How long an encoder may take for the rest of a part."""
MOST_FRAMES_PER_SECOND: Final = 240
HD_HEIGHT: Final = 720
"""From this height on, a video that does not say so has the colours of HD (ITU-R BT.709)."""
_ALSO_HERE: Final = ("/opt/homebrew/bin", "/usr/local/bin", "/opt/local/bin")
"""Programs started from a macOS dock do not have these in PATH."""
_FORMATS: Final = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,live_flv,ogg,dv,gif"
)
"""What may be opened. Play lists (HLS, concat) are not among them: an uploaded one could name any
file of this machine or address of its network."""
_ENCODERS: Final[dict[str, tuple[str, ...]]] = {
    "libx264": ("-preset", "medium", "-crf", "17"),
    "libopenh264": ("-b:v", "12M"),
    "libvpx-vp9": ("-crf", "24", "-b:v", "0", "-row-mt", "1"),
}
"""What browsers play, the best first; each nearly without visible loss."""
_SOUND_AS_IT_IS: Final = ("aac", "mp3", "ac3", "eac3", "opus", "alac", "flac")
"""Sound that an MP4 file takes; any other becomes AAC."""
_INTERLACED: Final = ("tt", "bb", "tb", "bt")
_PART: Final = re.compile(r"part-(\d{5})-(\d+)\.mp4")


@dataclass(frozen=True)
class Programs:
    """Where ffmpeg and ffprobe lie."""

    ffmpeg: str
    ffprobe: str


@dataclass(frozen=True)
class VideoFacts:
    """What a video file holds.

    Attributes:
        width, height: Of the frames as they are handed out: upright, with square pixels.
        rate: Frames a second, as they are handed out: always evenly spaced.
        frames: How many, as far as the file tells; 0 = unknown.
        seconds: Length; 0 = unknown.
        sound: Codecs of its sound tracks. is_interlaced: Frames are made whole when read.
        is_tagged: It says what its colours mean.
    """

    width: int
    height: int
    rate: Fraction
    frames: int
    seconds: float
    sound: tuple[str, ...] = ()
    is_interlaced: bool = False
    is_tagged: bool = False


def missing_programs() -> tuple[str, ...]:
    """Which of ffmpeg's programs are not on this machine."""
    return tuple(name for name in NEEDED if _which(name) is None)


def find_programs() -> Programs:
    """ffmpeg and ffprobe.

    Raises:
        LibraryError: They are not installed.
    """
    ffmpeg, ffprobe = (_which(name) for name in NEEDED)
    if ffmpeg is None or ffprobe is None:
        raise LibraryError(
            f"A video needs {' and '.join(missing_programs())}, which this machine does not have.",
            "Windows: winget install ffmpeg. macOS: brew install ffmpeg. Linux: sudo apt install "
            "ffmpeg, or your system's own way. Then start this program again.",
        )
    return Programs(ffmpeg, ffprobe)


def _which(name: str) -> str | None:
    folders = os.pathsep.join((os.environ.get("PATH", ""), *_ALSO_HERE))
    return shutil.which(name, path=folders)


# What is in a file


def probe(path: Path, programs: Programs) -> VideoFacts:
    """Look into a video file.

    Raises:
        LibraryError: It is none, is damaged, or holds no moving picture.
    """
    command = [
        programs.ffprobe, "-v", "error", "-format_whitelist", _FORMATS, "-show_streams",
        "-show_format", "-of", "json", f"file:{path}",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS
        )
        told: dict[str, Any] = json.loads(done.stdout or b"{}")
    except (subprocess.TimeoutExpired, ValueError, OSError) as err:
        raise _no_video(str(err)) from err
    if done.returncode:
        raise _no_video(_last_line(done.stderr))
    return read_facts(told)


def read_facts(told: dict[str, Any]) -> VideoFacts:
    """From ffprobe's JSON.

    Raises:
        LibraryError: There is no moving picture, or it has no size or rate.
    """
    streams = told.get("streams", [])
    video = next((s for s in streams if _is_moving(s)), None)
    if video is None:
        raise _no_video("it holds no moving picture")
    width, height = int(video.get("width") or 0), int(video.get("height") or 0)
    ratio = _fraction(video.get("sample_aspect_ratio"))
    if ratio and width:
        width = max(1, round(width * ratio))
    if _is_turned(video):
        width, height = height, width
    rate = _rate(video)
    if not (width and height and rate):
        raise _no_video("it tells neither size nor frame rate")
    length = video.get("duration") or told.get("format", {}).get("duration") or 0
    seconds = max(0.0, float(length))
    return VideoFacts(
        width=width,
        height=height,
        rate=rate,
        frames=round(seconds * rate),
        seconds=seconds,
        sound=tuple(s.get("codec_name", "?") for s in streams if s.get("codec_type") == "audio"),
        is_interlaced=video.get("field_order") in _INTERLACED,
        is_tagged=video.get("color_space") not in (None, "unknown", "reserved", "gbr"),
    )


def _is_moving(stream: dict[str, Any]) -> bool:
    """False for sound, and for the cover picture of a piece of music."""
    is_cover = stream.get("disposition", {}).get("attached_pic")
    return stream.get("codec_type") == "video" and not is_cover


def _is_turned(stream: dict[str, Any]) -> bool:
    turns = [data.get("rotation") for data in stream.get("side_data_list", [])]
    turns.append(stream.get("tags", {}).get("rotate"))
    return any(round(float(turn)) % 180 == 90 for turn in turns if turn is not None)


def _rate(stream: dict[str, Any]) -> Fraction | None:
    """The nominal rate where the frames keep to it, else their mean: phones' videos vary."""
    nominal, mean = (_fraction(stream.get(k)) for k in ("r_frame_rate", "avg_frame_rate"))
    if nominal and mean and abs(nominal / mean - 1) > Fraction(1, 50):
        nominal = mean
    rate = nominal or mean
    return None if rate is None or rate > MOST_FRAMES_PER_SECOND else rate.limit_denominator(1001)


def _fraction(text: str | None) -> Fraction | None:
    """«30000/1001» or «16:15»; None for nothing and for zero."""
    above, _, below = (text or "").replace(":", "/").partition("/")
    if not above.isdecimal() or not (below or "1").isdecimal() or int(above) == 0:
        return None
    return Fraction(int(above), int(below)) if int(below or 1) else None


# Frames out of a file


def read_command(path: Path, facts: VideoFacts, programs: Programs) -> list[str]:
    """ffmpeg's arguments for raw RGB frames on its standard output."""
    matrix = "bt709" if facts.height >= HD_HEIGHT and not facts.is_tagged else "auto"
    filters = [
        f"fps={facts.rate}",
        f"scale={facts.width}:{facts.height}:in_color_matrix={matrix}"
        ":flags=lanczos+accurate_rnd+full_chroma_int",
        "setsar=1",
        "format=rgb24",
    ]
    if facts.is_interlaced:
        filters.insert(0, "yadif=mode=send_frame:deint=interlaced")
    return [
        programs.ffmpeg, "-v", "error", "-nostdin", "-format_whitelist", _FORMATS,
        "-i", f"file:{path}", "-map", "0:V:0", "-vf", ",".join(filters), "-an", "-sn", "-dn",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1",
    ]  # fmt: skip


class Frames:
    """The frames of a video, one after another; memory holds one at a time.

    Use it as a context: the program behind it ends with it.

    Args:
        first: Frames before this one are passed over.
    """

    def __init__(self, path: Path, facts: VideoFacts, programs: Programs, first: int = 0) -> None:
        self._bytes = facts.width * facts.height * 3
        self._first = first
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed later)
        self._process = subprocess.Popen(
            read_command(path, facts, programs), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=self._said, bufsize=0,
        )  # fmt: skip
        self.problem = ""
        """Why the frames ended early; empty when they did not."""

    def __enter__(self) -> Frames:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None
    ) -> None:
        _end(self._process)
        self._said.close()

    def __iter__(self) -> Iterator[bytes]:
        """Each frame as height × width × 3 bytes of RGB."""
        assert self._process.stdout is not None, "it was asked for"
        number = 0
        while (frame := _read_whole(self._process.stdout, self._bytes)) is not None:
            if number >= self._first:
                yield frame
            number += 1
        if self._process.wait(END_SECONDS):
            self.problem = _last_line(_all_of(self._said))


def _read_whole(stream: IO[bytes], count: int) -> bytes | None:
    """Exactly so many bytes; None at the end, where a frame cut short counts as none."""
    frame = bytearray()
    while len(frame) < count:
        part = stream.read(count - len(frame))
        if not part:
            return None
        frame += part
    return bytes(frame)


# Frames into files


def choose_encoder(programs: Programs) -> str:
    """The best encoder this ffmpeg has.

    Raises:
        LibraryError: It has none that makes videos for browsers.
    """
    command = [programs.ffmpeg, "-v", "error", "-nostdin", "-encoders"]
    try:
        told = subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS).stdout
    except (subprocess.TimeoutExpired, OSError) as err:
        raise LibraryError(f"ffmpeg does not run: {err}.", "Install it anew.") from err
    known = set(re.findall(r"^ V\S*\s+(\S+)", told.decode("utf-8", "replace"), re.MULTILINE))
    found = next((name for name in _ENCODERS if name in known), None)
    if found is None:
        raise LibraryError(
            f"This ffmpeg ({programs.ffmpeg}) cannot write videos that browsers play: it was built "
            f"without {', '.join(_ENCODERS)}.",
            "Install a full build of ffmpeg.",
        )
    return found


def write_command(
    encoder: str, size: tuple[int, int], rate: Fraction, goal: Path, programs: Programs
) -> list[str]:
    """ffmpeg's arguments for a silent MP4 file out of raw RGB frames on its standard input.

    Args:
        size: Width and height in pixels, both even.
    """
    return [
        programs.ffmpeg, "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24",
        "-video_size", f"{size[0]}x{size[1]}", "-framerate", str(rate), "-i", "pipe:0",
        "-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int,"
        "format=yuv420p",
        "-c:v", encoder, *_ENCODERS[encoder], "-colorspace", "bt709", "-color_primaries", "bt709",
        "-color_trc", "bt709", "-color_range", "tv", "-video_track_timescale",
        str(rate.numerator * max(1, 10_000 // rate.numerator)), "-f", "mp4", f"file:{goal}",
    ]  # fmt: skip


class Parts:
    """Writes frames into parts of some seconds each; what is finished stays if the work ends.

    Args:
        folder: For the parts alone; those that are there already are kept.
    Raises:
        LibraryError: The folder cannot be written.
    """

    def __init__(self, folder: Path, rate: Fraction, encoder: str, programs: Programs) -> None:
        self._folder, self._rate = folder, rate
        self._encoder, self._programs = encoder, programs
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._count = 0

    def write(self, frame: bytes, size: tuple[int, int]) -> None:
        """Add one frame.

        Args:
            frame: width × height × 3 bytes of RGB.
            size: Width and height, both even; the same for all frames.

        Raises:
            LibraryError: The encoder ended: the disk is full, or it cannot write such a video.
        """
        if self._process is None:
            self._begin(size)
        process = self._process
        assert process is not None and process.stdin is not None, "begun above"
        try:
            process.stdin.write(frame)
        except OSError as err:
            raise self._failed() from err
        self._count += 1
        if self._count >= PART_SECONDS * self._rate:
            self.finish()

    def finish(self) -> None:
        """End the present part, so that it is a whole file. Raises as ``write``."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None, "it was asked for"
        try:
            process.stdin.close()
            code = process.wait(END_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as err:
            raise self._failed() from err
        if code:
            raise self._failed()
        number = len(parts_in(self._folder))
        os.replace(self._unfinished, self._folder / f"part-{number:05d}-{self._count}.mp4")
        self._close()

    def drop(self) -> None:
        """End without the present part."""
        if self._process is not None:
            _end(self._process)
            self._unfinished.unlink(missing_ok=True)
            self._close()

    @property
    def _unfinished(self) -> Path:
        return self._folder / "unfinished.mp4"

    def _begin(self, size: tuple[int, int]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed later)
        command = write_command(self._encoder, size, self._rate, self._unfinished, self._programs)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._said
        )

    def _failed(self) -> LibraryError:
        process, said = self._process, self._said
        assert process is not None and said is not None, "only a begun part fails"
        _end(process)
        reason = _all_of(said)
        self.drop()
        return _cannot_write(reason)

    def _close(self) -> None:
        if self._said is not None:
            self._said.close()
        self._process, self._said, self._count = None, None, 0


def parts_in(folder: Path) -> list[tuple[Path, int]]:
    """Finished parts in order, each with its number of frames."""
    found = ((path, _PART.fullmatch(path.name)) for path in folder.glob("part-*.mp4"))
    return sorted((path, int(match[2])) for path, match in found if match)


def join_command(
    listed: Path, source: Path, facts: VideoFacts, goal: Path, recipe: str, programs: Programs,
    *, frames: int | None = None,
) -> list[str]:  # fmt: skip
    """ffmpeg's arguments for one video out of the listed parts, with the sound of the source.

    Args:
        frames: Where the sound is cut; None = it is kept whole.
    """
    is_fit = all(codec in _SOUND_AS_IT_IS for codec in facts.sound)
    sound = ("-c:a", "copy") if is_fit else ("-c:a", "aac", "-b:a", "192k")
    ends = () if frames is None else ("-t", f"{float(frames / facts.rate):.6f}")
    return [
        programs.ffmpeg, "-v", "error", "-nostdin", "-y",
        "-f", "concat", "-i", f"file:{listed}",
        "-format_whitelist", _FORMATS, "-i", f"file:{source}",
        "-map", "0:v:0", "-map", "1:a?", "-c:v", "copy", *sound, *ends, "-map_metadata", "1",
        "-metadata", f"comment={recipe}", "-movflags", "+faststart", "-f", "mp4", f"file:{goal}",
    ]  # fmt: skip


def join(
    folder: Path, source: Path, facts: VideoFacts, goal: Path, recipe: str, programs: Programs,
    *, is_cut: bool = False,
) -> int:  # fmt: skip
    """Put the finished parts and the source's sound into one file; the parts are removed.

    Args:
        folder: Of the parts. source: The video they were made from.
        recipe: How it was made; written into the file's comment.
        is_cut: The video was stopped: its sound ends with the last frame.
    Returns:
        How many frames it has.
    Raises:
        LibraryError: There are no parts, or the file cannot be written.
    """
    parts = parts_in(folder)
    if not parts:
        raise LibraryError("No frame of this video was finished.", "Try again.")
    listed, frames = folder / "parts.txt", sum(count for _, count in parts)
    try:
        listed.write_text("".join(f"file '{path.name}'\n" for path, _ in parts), "utf-8")
        command = join_command(
            listed, source, facts, goal, recipe, programs, frames=frames if is_cut else None
        )
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    except OSError as err:
        raise _cannot_write(str(err).encode()) from err
    if done.returncode:
        goal.unlink(missing_ok=True)
        raise _cannot_write(done.stderr)
    for path, _ in parts:
        path.unlink(missing_ok=True)
    listed.unlink(missing_ok=True)
    return frames


# Small parts


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program, however far it is, and close its pipes."""
    if process.poll() is None:
        process.kill()
    for pipe in (process.stdin, process.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except OSError:  # what was still to be written has no reader any more
            continue
    process.wait()


def _all_of(said: IO[bytes]) -> bytes:
    said.seek(0)
    return said.read()


def _last_line(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").splitlines()
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def _no_video(reason: str) -> LibraryError:
    return LibraryError(
        f"This file is no video that ffmpeg can read{f': {reason}' if reason else ''}.",
        "Choose another file, or convert it to MP4 first.",
    )


def _cannot_write(said: bytes) -> LibraryError:
    if b"No space left" in said or b"Errno 28" in said:
        return LibraryError("The video could not be stored: the disk is full.", "Free some space.")
    return LibraryError(
        f"ffmpeg could not write the video: {_last_line(said) or 'it ended without a reason'}.",
        "Choose a smaller size; if that does not help, install a newer ffmpeg.",
    )
