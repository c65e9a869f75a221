"""The gallery's parts, joined: index, journal, small copies, the thread that keeps them true."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from webui.infotext import parse_infotext
from webui.jobs.store import JobStore
from webui.library.gallery.marks import Journal
from webui.library.gallery.rows import GONE, Picture
from webui.library.gallery.store import INDEX_FILE, GalleryStore
from webui.library.gallery.thumbs import Thumbs
from webui.library.inputs import Inputs
from webui.library.library import Library, SavedPicture
from webui.options import Options
from webui.params import AnyParams
from webui.services.gallery.deeds import GalleryDeeds, Told
from webui.services.gallery.history import lacks_beginning, lineage, paint_again
from webui.services.gallery.pictures import Gallery
from webui.services.gallery.replay import Replays
from webui.services.gallery.watch import GalleryWatch
from webui.settings import Settings

OUTPUT_OPTIONS = ("samples", "grids")
"""Ends of the names of the options that name folders of pictures painted here."""


class GalleryRoom:
    """What the studio owns of the gallery.

    Attributes:
        pictures: Finds and changes. watch: Keeps the index true. deeds: Answers the doors.
    Raises:
        SettingsError: The index cannot be opened or made.
    """

    def __init__(
        self,
        settings: Settings,
        options: Options,
        jobs: JobStore,
        library: Library,
        inputs: Inputs,
        replays: Replays,
        told: Told,
    ) -> None:
        folders, self._options, self._jobs = settings.folders, options, jobs
        self._data, self._library = folders.data, library
        kept = folders.database.parent
        self._store = GalleryStore(kept / INDEX_FILE)
        journal = Journal(kept / "gallery-marks.jsonl")
        self._thumbs = Thumbs(folders.data / "cache" / "thumbs")
        self.pictures = Gallery(self._store, journal, self._thumbs, library)
        self.watch = GalleryWatch(
            self._store, journal, library, lineage=lambda saved: lineage(jobs, inputs, saved),
            outputs=self._outputs, may_add=settings.is_private,
            is_too_wide=folders.are_inside,
        )  # fmt: skip
        self.deeds = GalleryDeeds(
            self.pictures, self.watch, replays, told,
            lacks_beginning=lambda picture: lacks_beginning(jobs, inputs, picture),
        )  # fmt: skip

    def is_starred(self, jobs: Sequence[int]) -> bool:
        """True when a picture of one of these jobs has a star."""
        marks = ", ".join("?" * len(jobs))
        return bool(self._store.where(f"stars > 0 AND job IN ({marks})", tuple(jobs)))

    def paint_again(self, picture_id: int, user: str = "") -> AnyParams | None:
        """The request that paints a picture once more; None when no job here painted it.

        Raises:
            LibraryError: There is no such picture for this login.
        """
        return paint_again(self._jobs, self.pictures.get(picture_id, user))

    def has_elsewhere(self, saved: SavedPicture) -> bool:
        """True when a picture whose file is not in its old place lies in the trash or was moved."""
        return bool(self._store.where("image = ? AND state <> ?", (saved.id, GONE)))

    def trim_thumbs(self, megabytes: int) -> int:
        """Keep small copies within a size; 0 = any. Returns how many went."""
        return self._thumbs.trim(megabytes * 2**20) if megabytes else 0

    def give_back(self) -> None:
        """Tell a library whose records were lost what is known here of pictures painted here."""
        painted = self._store.where("image IS NOT NULL AND job IS NOT NULL AND job_index NOT NULL")
        self._library.take_back(
            _saved(picture, self._store.infotext(picture.id)) for picture in painted
        )

    def close(self) -> None:
        """End the thread and close the index."""
        self.watch.stop()
        self._store.close()

    def _outputs(self) -> list[Path]:
        named = [
            self._options[key]
            for key in self._options.as_dict()
            if key.startswith("outdir_") and key.endswith(OUTPUT_OPTIONS)
        ]
        return [self._data / folder for folder in named if folder] + [self._data / "recovered"]


def _saved(picture: Picture, infotext: str) -> SavedPicture:
    """A picture of the gallery as the library had it, without what only the job knew."""
    assert None not in (picture.image, picture.job, picture.job_index), "it was painted here"
    read = parse_infotext(infotext)
    return SavedPicture(
        id=picture.image or 0,
        job_id=picture.job or 0,
        index=picture.job_index or 0,
        kind="grid" if picture.kind == "grid" else "image",
        path=picture.path,
        root=picture.root,
        format=picture.format,
        width=picture.width,
        height=picture.height,
        size_bytes=picture.size,
        seed=int(picture.seed) if picture.seed.isdecimal() else None,
        infotext=infotext,
        facts={
            "prompt": read.prompt, "negative_prompt": read.negative_prompt,
            "model_name": picture.model, "sampler": picture.sampler, "steps": picture.steps,
        },
        user=picture.user,
        client="",
        created_at=picture.created,
        is_saved=True,
    )  # fmt: skip
