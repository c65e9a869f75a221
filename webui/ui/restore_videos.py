"""Videos on the Restore tab: what was dropped, what is missing for them, what came of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui import video
from webui.library.videos import SavedVideo
from webui.ui import cards
from webui.ui.batch import keep_each
from webui.ui.cards import esc
from webui.ui.img2img_form import FOLDER
from webui.ui.texts import say

if TYPE_CHECKING:
    from webui.studio import Studio

WAYS = (
    ("Windows", "winget install ffmpeg"),
    ("macOS", "brew install ffmpeg"),
    ("Linux", "sudo apt install ffmpeg"),
)
"""How people get ffmpeg."""
HEAVY_FRAMES = 300
"""From so many frames on, the page says that it takes long."""


@dataclass(frozen=True)
class VideoFile:
    """A dropped video: its kept file's key, its name, and what is known of it (0 = not yet)."""

    key: str
    stem: str
    width: int = 0
    height: int = 0
    frames: int = 0
    seconds: float = 0.0


def is_video(path: Path) -> bool:
    """True for files that are videos by their name."""
    return path.suffix.lower() in video.SUFFIXES


def write_videos(files: Iterable[VideoFile]) -> str:
    """Videos as the text a draft keeps."""
    return json.dumps([astuple(file) for file in files], ensure_ascii=False)


def read_videos(text: Any) -> list[VideoFile]:
    """Videos, as ``write_videos`` wrote them; anything else is nothing."""
    try:
        return [
            VideoFile(str(key), str(stem), int(width), int(height), int(frames), float(seconds))
            for key, stem, width, height, frames, seconds in json.loads(text)
        ]
    except (ValueError, TypeError):
        return []


def keep_videos(studio: Studio, paths: Iterable[Path]) -> tuple[list[VideoFile], list[str]]:
    """Keep dropped videos as inputs (see ``keep_each``), looked into when ffmpeg is there."""
    return keep_each(paths, lambda path: _kept(studio, path))


def _kept(studio: Studio, path: Path) -> VideoFile:
    if video.missing_programs():
        return VideoFile(studio.inputs.keep_video(path), path.stem)
    found = video.probe(path, video.find_programs())
    key = studio.inputs.keep_video(path)
    return VideoFile(
        key, path.stem, found.width, found.height, found.frames, round(found.seconds, 1)
    )


def videos_of(form: Mapping[str, Any]) -> list[VideoFile]:
    """The videos that a form asks for; a folder is looked through for photographs only."""
    return [] if form["batch_source"] == FOLDER else read_videos(form["video_files"])


def needed_programs(form: Mapping[str, Any]) -> tuple[str, ...]:
    """Programs without which the videos of a form cannot be restored."""
    return video.missing_programs() if videos_of(form) else ()


# What the page shows


def listed(text: Any, language: str) -> str:
    """The dropped videos with what is known of them."""
    files = read_videos(text)
    if not files:
        return ""
    rows = "".join(f"<li>{_line(file, language)}</li>" for file in files)
    note = esc(say("video_note", language))
    if any(file.frames >= HEAVY_FRAMES for file in files):
        note += " " + esc(say("video_long", language))
    return f'<ul class="dq-videos">{rows}</ul><p class="dq-soft">{note}</p>'


def _line(file: VideoFile, language: str) -> str:
    facts = []
    if file.frames:
        facts = [
            _clock(file.seconds),
            f"{file.width}×{file.height}",
            say("video_frames", language, frames=file.frames),
        ]
    told = f' <span class="dq-soft">{esc(" · ".join(facts))}</span>' if facts else ""
    return f"<b>{esc(file.stem)}</b>{told}"


def needs_card(names: Sequence[str], language: str) -> str:
    """What is missing for videos, and how to get it on each system."""
    if not names:
        return ""
    title = esc(say("video_needs", language, names=", ".join(names)))
    ways = "".join(
        f'<p><b>{esc(system)}</b></p><code class="dq-path">{esc(command)}</code>'
        for system, command in WAYS
    )
    return (
        f'<div class="dq-card dq-needs dq-needs-video" role="alert"><h3>{title}</h3>'
        f"<p>{esc(say('video_needs_hint', language))}</p>{ways}</div>"
    )


def video_view(saved: SavedVideo, language: str) -> str:
    """A finished video: to play, to download, and where it lies."""
    url = video_url(saved)
    facts = [_clock(saved.seconds), f"{saved.width}×{saved.height}"]
    facts.append(say("video_frames", language, frames=saved.frames))
    if saved.is_part:
        facts.insert(0, say("video_part", language))
    ratio = f"--dq-ratio:{saved.width / max(1, saved.height):.5f}"
    return (
        f'<div class="dq-view dq-film"><video controls preload="metadata" playsinline '
        f'src="{esc(url)}" style="{ratio}" width="{saved.width}" height="{saved.height}" '
        f'aria-label="{esc(saved.path.stem)}"></video></div>'
        f'<div class="dq-line dq-film-line"><span>{esc(" · ".join(facts))}</span>'
        f'<a class="dq-btn" href="{esc(url)}&amp;download=1" download="{esc(saved.path.name)}">'
        f"{esc(say('video_download', language))}</a></div>"
        f'<code class="dq-path dq-film-path">{esc(saved.path)}</code>'
    )


def gone_card(saved: SavedVideo, language: str) -> str:
    """The file of a finished video was moved or deleted."""
    text = esc(say("video_gone", language))
    return (
        f'<div class="dq-card dq-empty"><p>{text}</p>'
        f'<code class="dq-path">{esc(saved.path)}</code></div>'
    )


def earlier(videos: Sequence[SavedVideo], language: str) -> str:
    """Links to videos that are not on show."""
    if not videos:
        return ""
    links = "".join(
        f'<li><a href="{esc(video_url(saved))}" target="_blank">{esc(saved.path.name)}</a> '
        f'<span class="dq-soft">{esc(_clock(saved.seconds))}</span></li>'
        for saved in videos
    )
    title = say("video_earlier", language)
    return (
        f'<section class="dq-videos-earlier" aria-label="{esc(title)}">{cards.heading(title)}'
        f'<ul class="dq-videos">{links}</ul></section>'
    )


def video_url(saved: SavedVideo) -> str:
    """Where the page gets it, relative to the page. The time keeps browsers from mixing up two
    libraries."""
    return f"ui/video/{saved.job_id}?t={int(saved.created_at)}"


def _clock(seconds: float) -> str:
    """A length such as ``0:04`` or ``1:02:03``."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
