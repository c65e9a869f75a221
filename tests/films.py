"""Small videos for tests; made by ffmpeg, so only where it is installed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from webui import video

needs_ffmpeg = pytest.mark.skipif(
    bool(video.missing_programs()), reason="ffmpeg is not installed on this machine"
)


def make_film(
    path: Path, *, size: str = "48x32", rate: str = "25", seconds: float = 1.0, sound: bool = True,
    more: tuple[str, ...] = (),
) -> Path:  # fmt: skip
    """A moving test picture with a tone of 440 Hz."""
    command = [video.find_programs().ffmpeg, "-v", "error", "-y", "-f", "lavfi"]
    command += ["-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}"]
    if sound:
        command += ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"]
    command += ["-threads", "1", *more, str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def frames_of(path: Path) -> list[bytes]:
    """All frames as our own reader hands them out."""
    programs = video.find_programs()
    with video.Frames(path, video.probe(path, programs), programs) as frames:
        return list(frames)


def times_of(path: Path) -> list[float]:
    """When each frame is shown, in seconds."""
    command = [
        video.find_programs().ffprobe, "-v", "error", "-select_streams", "v", "-show_entries",
        "packet=pts_time", "-of", "csv=p=0", str(path),
    ]  # fmt: skip
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return sorted(float(line.strip(",")) for line in told.split())


def sound_of(path: Path) -> str:
    """A checksum of the sound as it is stored."""
    command = [
        video.find_programs().ffmpeg, "-v", "error", "-nostdin", "-i", str(path), "-map", "0:a",
        "-c", "copy", "-f", "md5", "-",
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
