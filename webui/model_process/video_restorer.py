"""Runs jobs of kind restore-video: every frame through the same repairs as a photograph."""

from __future__ import annotations

import io
import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from webui import video
from webui.errors import LibraryError, WebUIError
from webui.infotext import write_infotext
from webui.model_process.restorer import RestoringRun
from webui.params import RestoreVideo
from webui.progress import Interrupted
from webui.restoration.pixels import Pixels, to_eight
from webui.restoration.recipe import extras_pairs, shown_pairs
from webui.restoration.restore import NO_FACE, restore

logger = logging.getLogger(__name__)
PREVIEW_SECONDS: Final = 1.0
PREVIEW_SIDE: Final = 768


class VideoRun(RestoringRun):
    """One video: frame after frame; what is finished becomes a playable file when it is stopped.

    Args:
        params: The request.
        message: The supervisor's ``run`` message; in ``video`` the ``folder`` of this job's parts,
            which may hold some from before a crash.
        parts: As ``RestoringRun`` takes them, after the message.
    """

    def __init__(self, params: RestoreVideo, message: Mapping[str, Any], *parts: Any) -> None:
        super().__init__(message, *parts)
        self._params = params
        self._folder = Path(message["video"]["folder"])
        self._is_made = bool(message["video"].get("is_made"))
        self._done = 0
        self._total = 0
        self._without_faces = 0
        self._is_part = False
        self._warnings: set[str] = set()
        self._shown_at = 0.0

    def run(self) -> dict[str, Any]:
        """Restore the video and say where it lies.

        Returns:
            Facts for the job row.
        Raises:
            WebUIError: It cannot be read or worked on. Frames that were finished before are kept
                as a video all the same.
        """
        failure: WebUIError | None = None
        if not self._is_made:
            programs = video.find_programs()
            source = self._source()
            facts = video.probe(source, programs)
            try:
                self._restore_frames(source, facts, programs)
            except WebUIError as err:
                failure, self._is_part = err, True
            self._join(source, facts, programs, failure)
        return {
            "extra_generation_params": dict(shown_pairs(self._pairs())),
            "interrupted": self._asked.interrupted,
        }

    def _source(self) -> Path:
        key = self._params.video
        if key not in self._inputs:
            raise LibraryError("The video of this job is missing.", "Choose it again.")
        return Path(self._inputs[key])

    # Frames

    def _restore_frames(
        self, source: Path, facts: video.VideoFacts, programs: video.Programs
    ) -> None:
        """Every frame that is not in a finished part yet, until the end or until stopped."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._done = sum(count for _, count in video.parts_in(self._folder))
        self._total = max(facts.frames, self._done)
        self._tell()
        parts = video.Parts(self._folder, facts.rate, video.choose_encoder(programs), programs)
        problem = ""
        try:
            with video.Frames(source, facts, programs, self._done) as frames:
                for frame in frames:
                    if self._asked.should_stop:
                        break
                    pixels = np.frombuffer(frame, np.uint8).reshape(facts.height, facts.width, 3)
                    self._write(self._restored(pixels), parts)
                problem = frames.problem
            parts.finish()
        except Interrupted:
            parts.finish()
        except WebUIError:
            parts.finish()  # the frames before this one are good; nothing, if it is the encoder's
            raise
        finally:
            parts.drop()
        self._is_part = self._asked.should_stop or bool(problem)
        if problem:
            self._say(f"The video is damaged after frame {self._done}: {problem}")

    def _restored(self, pixels: Pixels) -> Pixels:
        """One frame, 8-bit RGB, its sides even as H.264 wants them (the edge is repeated)."""
        with torch.inference_mode():
            restored = restore(pixels, self._params, self._weights, self)
        made = to_eight(restored.pixels)[..., :3]
        odd = (made.shape[0] % 2, made.shape[1] % 2)
        if any(odd):
            made = np.pad(made, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        return np.ascontiguousarray(made)

    def _write(self, made: Pixels, parts: video.Parts) -> None:
        parts.write(made.tobytes(), (made.shape[1], made.shape[0]))
        self._done += 1
        self._total = max(self._total, self._done)
        self._tell()
        if time.monotonic() - self._shown_at >= PREVIEW_SECONDS:
            self._shown_at = time.monotonic()
            image = Image.fromarray(made)
            image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
            data = io.BytesIO()
            image.save(data, "JPEG", quality=85)
            self._send({"type": "preview", "image": data.getvalue(), "format": "jpeg"})

    # The end

    def _join(
        self, source: Path, facts: video.VideoFacts, programs: video.Programs,
        failure: WebUIError | None,
    ) -> None:  # fmt: skip
        """Hand over what is finished; then fail, if frames failed.

        Raises:
            WebUIError: ``failure``, or there is nothing to hand over, or it cannot be joined.
        """
        if video.parts_in(self._folder):
            if failure is not None:
                self._say(f"The video could not be finished. {failure}")
            self._hand_over(source, facts, programs)
        else:
            shutil.rmtree(self._folder, ignore_errors=True)
            if failure is None and not self._asked.should_stop:
                failure = LibraryError(
                    "No frame of this video could be read.",
                    "Convert it to MP4 first and try again.",
                )
        if failure is not None:
            raise failure

    def _hand_over(self, source: Path, facts: video.VideoFacts, programs: video.Programs) -> None:
        recipe = write_infotext("", "", self._pairs())
        goal = self._folder / "finished.mp4"
        self.stage("joining", 0, 1)
        frames = video.join(
            self._folder, source, facts, goal, recipe, programs, is_cut=self._is_part
        )
        made = video.probe(goal, programs)
        if self._asked.should_stop:
            self._say(
                f"Stopped: the video holds the first {frames} of {self._total} frames "
                f"({made.seconds:.1f} s)."
            )
        if self._without_faces and self._without_faces == self._done:
            self._say("No face was found in any frame, so none was restored.")
        self._send(
            {
                "type": "video",
                "path": str(goal),
                "infotext": recipe,
                "width": made.width,
                "height": made.height,
                "frames": frames,
                "seconds": made.seconds,
                "rate": float(made.rate),
                "is_part": self._is_part,
            }
        )

    def _pairs(self) -> dict[str, Any]:
        return extras_pairs(self._params, gfpgan=self._weights.gfpgan)

    # What restore.Watcher asks for

    def stage(self, name: str, done: int, total: int) -> None:
        """See ``restore.Watcher``; within a frame only the count of frames is told."""
        if name == "joining":
            self._tell("joining")

    def warn(self, message: str) -> None:
        """See ``restore.Watcher``: what is said of many frames is told once."""
        if message == NO_FACE:
            self._without_faces += 1
        else:
            self._say(message)

    # Messages

    def _tell(self, stage: str = "frames") -> None:
        self._send(
            {
                "type": "progress", "batch": 0, "batches": 1, "step": self._done,
                "steps": self._total, "stage": stage,
            }
        )  # fmt: skip

    def _say(self, sentence: str) -> None:
        if sentence not in self._warnings:
            self._warnings.add(sentence)
            self._send({"type": "warning", "message": sentence})
