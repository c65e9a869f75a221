"""Every failure a person can meet.

    WebUIError            message (what happened), hint (what to do), code (slug), http_status
    ├─ ParamsError 422            field
    │   └─ PromptSyntaxError          position
    ├─ SettingsError              a start-up flag or settings file that cannot be used
    ├─ CheckpointError 422        path
    │   ├─ CheckpointNotFoundError 404
    │   ├─ UnknownArchitectureError   closest guesses
    │   └─ UnsafeCheckpointError      refused pickle
    ├─ DownloadError 502          url
    │   └─ DownloadNotFoundError 404
    ├─ DeviceMemoryError 507      needed_bytes, free_bytes
    │   └─ ModelTooLargeError         not the picture: the model itself
    ├─ JobError
    │   ├─ BrokenValuesError          NaN instead of a picture
    │   ├─ ModelProcessError          the process that paints ended
    │   ├─ JobNotFoundError 404
    │   ├─ JobCancelled 409           not a failure: the person asked for it
    │   └─ JobPaused                  not a failure: it waits and will go on
    ├─ ExtensionError             plugin, hook
    ├─ TrainingError
    │   └─ DatasetError               file
    └─ LibraryError               pictures that cannot be written or read
        ├─ PictureError 422           no picture, a damaged one, or too large
        ├─ PictureNotFoundError 404
        └─ DiskFullError              there is no room for them

Message grammar: what was wanted, what was found; the hint says what to do.
"""

from __future__ import annotations

from typing import Any, ClassVar


class WebUIError(Exception):
    """Base of everything this program raises on purpose.

    Args:
        message: What was wanted and what was found, one or two sentences.
        hint: What the person can do about it.
        details: Extra facts by name (``field``, ``path`` …). They become attributes
            and travel with the error over the wire, so they must be JSON values.
    """

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __getattr__(self, name: str) -> Any:
        details = self.__dict__.get("details", {})
        if name in details:
            return details[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def to_json(self) -> dict[str, Any]:
        """The error as plain data, for the wire between processes and for job rows."""
        return {
            "type": type(self).__name__,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "details": self.details,
        }


class ParamsError(WebUIError):
    """A request asks for something that cannot be made (``field`` names the value at fault)."""

    code = "params"
    http_status = 422


class PromptSyntaxError(ParamsError):
    """A prompt that cannot be read (``position``: character index)."""

    code = "prompt_syntax"


class SettingsError(WebUIError):
    """This installation is set up in a way that cannot run."""

    code = "settings"


class CheckpointError(WebUIError):
    """A weights file that cannot be used (``path``)."""

    code = "checkpoint"
    http_status = 422


class CheckpointNotFoundError(CheckpointError):
    """No file of that name lies in the model folders."""

    code = "checkpoint_not_found"
    http_status = 404


class UnknownArchitectureError(CheckpointError):
    """The file is readable, but holds no model we know (``closest``: best guesses)."""

    code = "unknown_architecture"


class UnsafeCheckpointError(CheckpointError):
    """A pickle that asks for more than tensors; it was refused, nothing in it was run."""

    code = "unsafe_checkpoint"


class DownloadError(WebUIError):
    """A file could not be fetched (``url``)."""

    code = "download"
    http_status = 502


class DownloadNotFoundError(DownloadError):
    """No download has that number."""

    code = "download_not_found"
    http_status = 404


class DeviceMemoryError(WebUIError):
    """The device has too little memory (``needed_bytes``, ``free_bytes`` where known)."""

    code = "device_memory"
    http_status = 507


class ModelTooLargeError(DeviceMemoryError):
    """The model itself does not fit, whatever is painted with it."""

    code = "model_too_large"


class JobError(WebUIError):
    """A job could not be run or changed."""

    code = "job"


class BrokenValuesError(JobError):
    """A network made values that are no numbers (NaN) instead of a picture."""

    code = "broken_values"


class ModelProcessError(JobError):
    """The process that paints ended by itself, each time it was at this job."""

    code = "model_process"


class JobNotFoundError(JobError):
    """No job has that id."""

    code = "job_not_found"
    http_status = 404


class JobCancelled(JobError):
    """The person stopped the job. Not a failure; unwinds long work."""

    code = "job_cancelled"
    http_status = 409


class JobPaused(JobError):
    """The job kept what it did and gives the device free. Not a failure; unwinds long work."""

    code = "job_paused"


class ExtensionError(WebUIError):
    """A plugin failed (``plugin``, ``hook``); the program goes on without it."""

    code = "extension"


class TrainingError(WebUIError):
    """Training cannot start or go on."""

    code = "training"


class DatasetError(TrainingError):
    """A training picture or caption cannot be used (``file``)."""

    code = "dataset"


class LibraryError(WebUIError):
    """A picture cannot be written or read (``path``)."""

    code = "library"


class PictureError(LibraryError):
    """A file that is no picture, is damaged, or has too many pixels (``path``)."""

    code = "picture"
    http_status = 422


class PictureNotFoundError(LibraryError):
    """There is no such picture (any more)."""

    code = "picture_not_found"
    http_status = 404


class DiskFullError(LibraryError):
    """There is no room on the disk (``path``)."""

    code = "disk_full"


def _all_errors(base: type[WebUIError]) -> dict[str, type[WebUIError]]:
    found = {base.__name__: base}
    for child in base.__subclasses__():
        found.update(_all_errors(child))
    return found


def from_json(data: dict[str, Any]) -> WebUIError:
    """Rebuild an error that crossed a process border; unknown types become WebUIError."""
    kind = _all_errors(WebUIError).get(data.get("type", ""), WebUIError)
    return kind(data.get("message", ""), data.get("hint", ""), **data.get("details", {}))
