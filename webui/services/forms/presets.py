"""Whole forms under a name, what a checkpoint is painted with, and what a fresh page begins with.

All in one JSON file, which people may copy, edit and share. Values are checked where they are put
into a form: a field of another version or of a wrong type is left out.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from webui.errors import ParamsError, SettingsError
from webui.library.files import write_whole

logger = logging.getLogger(__name__)

SHIPPED_FILE = Path(__file__).with_name("shipped_presets.json")
MOST_CHARACTERS = 2_000_000
"""Of an imported text."""
MOST_PRESETS = 1000
MOST_NAME_CHARACTERS = 80
OWN_TO_A_PICTURE = frozenset(
    {
        "seed", "subseed", "has_extra", "picture", "sketch", "inpaint", "inpaint_sketch",
        "inpaint_upload", "mask_upload", "batch_files", "batch_input_dir", "batch_output_dir",
        "batch_mask_dir", "png_info_dir", "mode", "auto_size",
    }
)  # fmt: skip
"""Fields that a preset leaves as they are: seeds, pictures, folders."""
OF_A_CHECKPOINT = (
    "width", "height", "sampler", "schedule", "steps", "cfg_scale", "sd_vae",
    "CLIP_stop_at_last_layers",
)  # fmt: skip
"""What is kept for a checkpoint."""

Values = dict[str, Any]


class Presets:
    """Presets by name: those that come along, and those people made, which win.

    Args:
        file: Where they are kept; need not exist.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._stamp: tuple[int, int] | None = None
        self._own: dict[str, Values] = {}
        self._checkpoints: dict[str, Values] = {}
        self._shipped = _presets_in(json.loads(SHIPPED_FILE.read_text(encoding="utf-8")))

    def names(self) -> list[tuple[str, bool]]:
        """Each name, and whether people made it; theirs first."""
        with self._lock:
            self._look()
            own = sorted(self._own, key=str.casefold)
            return [(n, True) for n in own] + [(n, False) for n in self._shipped if n not in own]

    def get(self, name: str) -> Values:
        """Values by field name, and by option key for the top row.

        Raises:
            ParamsError: There is none of that name.
        """
        with self._lock:
            self._look()
            found = self._own.get(name) or self._shipped.get(name)
        if found is None:
            raise ParamsError(
                f"There is no preset named {name!r} any more.", "Open the list again."
            )
        return dict(found)

    def save(self, name: str, values: Mapping[str, Any]) -> None:
        """Keep a form under a name; one of that name is replaced.

        Raises:
            ParamsError: No name, or too many presets.
            SettingsError: The file cannot be written.
        """
        name = " ".join(name.split())
        if not name or len(name) > MOST_NAME_CHARACTERS:
            raise ParamsError(
                f"A preset needs a name of 1 to {MOST_NAME_CHARACTERS} characters.",
                "Write one and press Save again.",
                field="name",
            )
        kept = {k: v for k, v in values.items() if k not in OWN_TO_A_PICTURE}
        with self._lock:
            self._change({**self._now()[0], name: kept}, None)

    def delete(self, name: str) -> Values:
        """Remove a preset that people made.

        Returns:
            What it held.
        Raises:
            ParamsError: There is none; those that come along stay.
        """
        with self._lock:
            own = dict(self._now()[0])
            held = own.pop(name, None)
            if held is None:
                raise ParamsError(
                    f"There is no preset of yours named {name!r}.",
                    "Presets that come with the program stay.",
                )
            self._change(own, None)
            return held

    def of_checkpoint(self, name: str) -> Values:
        """What is kept for a checkpoint, by its catalog name; nothing when nothing is."""
        return dict(self._now()[1].get(name, {}))

    def keep_for_checkpoint(self, name: str, values: Mapping[str, Any] | None) -> None:
        """Keep what a checkpoint is painted with; None forgets it.

        Raises:
            SettingsError: The file cannot be written.
        """
        with self._lock:
            checkpoints = dict(self._now()[1])
            checkpoints.pop(name, None)
            if values is not None:
                checkpoints[name] = {k: values[k] for k in OF_A_CHECKPOINT if k in values}
            self._change(None, checkpoints)

    def export(self) -> str:
        """All presets that people made, as JSON text."""
        own, checkpoints = self._now()
        return json.dumps(
            {"presets": own, "checkpoints": checkpoints}, ensure_ascii=False, indent=1
        )

    def bring_in(self, text: str) -> list[str]:
        """Take presets from JSON text, as ``export`` wrote it.

        Returns:
            Their names; one that is taken gets a number behind it, nothing is lost.
        Raises:
            ParamsError: The text holds no presets.
        """
        try:
            found = _presets_in(json.loads(text)) if len(text) <= MOST_CHARACTERS else {}
        except (ValueError, RecursionError) as err:
            raise _no_presets() from err
        if not found:
            raise _no_presets()
        with self._lock:
            own = dict(self._now()[0])
            taken: list[str] = []
            for name, values in found.items():
                free, number = name, 2
                while free in own and own[free] != values:
                    free, number = f"{name} {number}", number + 1
                own[free] = values
                taken.append(free)
            self._change(own, None)
        return taken

    def _now(self) -> tuple[dict[str, Values], dict[str, Values]]:
        with self._lock:
            self._look()
            return self._own, self._checkpoints

    def _look(self) -> None:
        """Read the file when it changed; one that cannot be read is kept aside."""
        try:
            state = self._file.stat()
        except OSError:
            self._stamp, self._own, self._checkpoints = None, {}, {}
            return
        stamp = (state.st_mtime_ns, state.st_size)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            data = json.loads(self._file.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as err:
            logger.warning("%s cannot be read, no preset is known: %s", self._file, err)
            self._own, self._checkpoints = {}, {}
            return
        self._own, self._checkpoints = _presets_in(data), _named(data, "checkpoints")

    def _change(self, own: dict[str, Values] | None, checkpoints: dict[str, Values] | None) -> None:
        with self._lock:
            self._look()
            own = self._own if own is None else own
            checkpoints = self._checkpoints if checkpoints is None else checkpoints
            if len(own) > MOST_PRESETS:
                raise ParamsError(
                    f"There are {MOST_PRESETS} presets already.", "Delete some first."
                )
            self._keep_unreadable()
            data = {"presets": own, "checkpoints": checkpoints}
            text = json.dumps(data, ensure_ascii=False, indent=1)
            try:
                write_whole(self._file, text.encode("utf-8", "replace"))
            except OSError as err:
                raise SettingsError(
                    f"Presets were to be saved in {self._file}, which failed: {err}.",
                    "Check that the folder may be written to and has room.",
                    path=str(self._file),
                ) from err

    def _keep_unreadable(self) -> None:
        """A file that somebody broke while editing is not written over."""
        if self._stamp is None or self._own or self._checkpoints:
            return
        try:
            json.loads(self._file.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError):
            self._file.replace(self._file.with_suffix(".json.bad"))
        except OSError:
            return


def _presets_in(data: Any) -> dict[str, Values]:
    """The presets of an exported text: of all its names, those that can be names."""
    found = _named(data, "presets")
    cleaned = {" ".join(name.split())[:MOST_NAME_CHARACTERS]: v for name, v in found.items()}
    kept = {n: v for n, v in cleaned.items() if n}
    return dict(list(kept.items())[:MOST_PRESETS])


def _named(data: Any, key: str) -> dict[str, Values]:
    if not isinstance(data, dict):
        return {}
    entries = cast("dict[str, Any]", data).get(key)
    if not isinstance(entries, dict):
        return {}
    found: dict[str, Values] = {}
    for name, values in cast("dict[str, Any]", entries).items():
        if isinstance(values, dict):
            fields = cast("dict[str, Any]", values)
            found[name] = {k: v for k, v in fields.items() if k not in OWN_TO_A_PICTURE}
    return found


def _no_presets() -> ParamsError:
    return ParamsError(
        "Presets were to be imported, but the file holds none.",
        "Choose a .json file that was exported here.",
        field="presets",
    )
