"""Pictures and videos that come from the model process, kept where the options say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from webui.hookspecs import SavedPicture
from webui.jobs.store import Job, JobStore
from webui.library.library import Library, PictureFacts
from webui.library.small_copy import SmallCopyRule
from webui.library.videos import Videos
from webui.options import Options
from webui.params import AnyParams, ExtensionValues, Painting, Plot, RestoreVideo, from_json
from webui.services.extensions.room import ExtensionRoom
from webui.services.gallery.made_with import MadeWith


@dataclass(frozen=True)
class JobResults:
    """Keeps what jobs make.

    Attributes:
        folder: Output folders that are relative lie in it.
    """

    jobs: JobStore
    library: Library
    videos: Videos
    options: Options
    folder: Path
    extensions: ExtensionRoom
    made_with: MadeWith

    def keep_picture(self, job_id: int, event: dict[str, Any]) -> None:
        """Keep a picture of an ``image`` event; after the last of several, the grid of all."""
        job = self.jobs.get(job_id)
        params = from_json(job.params_json)
        if isinstance(params, Plot):
            self._keep_sheet(job, params, event)
            return
        own = params.of_picture(event["index"]) if isinstance(params, Painting) else params
        picture = SavedPicture(
            job_id, event["index"], event["image"], event["format"], event["infotext"]
        )
        picture = self.extensions.before_save(params, picture)
        event = {**event, "image": picture.data, "infotext": picture.infotext}
        facts = PictureFacts.from_params(own, self._with_makers(own, event), user=job.user)
        saved = self.library.save_image(
            job_id,
            event["index"],
            event["image"],
            facts,
            params.output,
            self._folder(params, "samples"),
            client=job.client,
            small_copy=self._small_copy_rule(),
        )
        if saved.warning:
            self.jobs.add_warning(job_id, saved.warning)
        self.extensions.after_save(params, replace(picture, path=saved.path))
        if event["index"] == params.image_count - 1 and params.image_count > 1:
            self._keep_grid(job, params, facts)

    def _with_makers(self, params: AnyParams, event: dict[str, Any]) -> dict[str, Any]:
        """An ``image`` event that tells, too, what made the picture beside its models."""
        told: dict[str, Any] = event.get("facts", {})
        if not told.get("made_on"):
            return event
        acting: ExtensionValues = getattr(params, "extensions", {})
        more = self.made_with.of(event["infotext"], acting)
        return {**event, "facts": {**told, "made_on": {**told["made_on"], **more}}}

    def keep_video(self, job_id: int, event: dict[str, Any]) -> None:
        """Keep the video of a ``video`` event."""
        job = self.jobs.get(job_id)
        params = from_json(job.params_json)
        assert isinstance(params, RestoreVideo), "no other kind makes videos"
        saved = self.videos.keep(
            job_id, event, params.name, params.output, self._folder(params, "samples"),
            user=job.user, client=job.client,
        )  # fmt: skip
        if saved.warning:
            self.jobs.add_warning(job_id, saved.warning)

    def _keep_sheet(self, job: Job, params: Plot, event: dict[str, Any]) -> None:
        saved = self.library.save_sheet(
            job.id,
            event["index"],
            event["image"],
            PictureFacts.from_params(params, event, user=job.user),
            params.output,
            self._folder(params, "grids"),
            client=job.client,
            has_long_name=self.options["grid_extended_filename"],
        )
        if saved.warning:
            self.jobs.add_warning(job.id, saved.warning)

    def _keep_grid(self, job: Job, params: AnyParams, facts: PictureFacts) -> None:
        if not (params.output.grid and params.output.save):
            return
        saved = self.library.save_grid(
            job.id,
            facts,
            params.output,
            self._folder(params, "grids"),
            client=job.client,
            prevent_empty_spots=self.options["grid_prevent_empty_spots"],
            has_long_name=self.options["grid_extended_filename"],
        )
        if saved is not None and saved.warning:
            self.jobs.add_warning(job.id, saved.warning)

    def _folder(self, params: AnyParams, what: str) -> Path:
        if params.output.folder:
            return Path(params.output.folder)
        kind = "extras" if isinstance(params, RestoreVideo) else params.kind
        kind = params.painted if isinstance(params, Plot) else kind
        chosen = self.options[f"outdir_{what}"] or self.options[f"outdir_{kind}_{what}"]
        return self.folder / chosen

    def _small_copy_rule(self) -> SmallCopyRule | None:
        if not self.options["export_for_4chan"]:
            return None
        return SmallCopyRule(
            max_megabytes=self.options["img_downscale_threshold"],
            max_side=self.options["target_side_length"],
            quality=self.options["jpeg_quality"],
        )
