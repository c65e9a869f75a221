"""The A1111 folders of the model process: loaded when a job first wants them, kept for the next.

What a painting job does with them is in ``script_job``; a step of the Extras tab is here.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from webui.checkpoints.identify import identify_file
from webui.errors import CheckpointError
from webui.extensions.a1111.folder import A1111Folder
from webui.extensions.a1111.host import Host, Names, Places
from webui.extensions.a1111.postprocessing import ExtrasSteps, PostprocessedImage, told_of_steps
from webui.extensions.fence import Fence
from webui.model_process.restorer import Stepped
from webui.prompts.attention import parse_attention
from webui.prompts.schedule import schedule_prompt
from webui.samplers.names import SAMPLERS, SCHEDULES


class _JobOptions:
    """Options as they were when the job was asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def as_dict(self) -> dict[str, Any]:
        return dict(self._values)


class ScriptProcess:
    """The A1111 folders of this process: loaded at the first job that wants them.

    Args:
        fence: Around all that scripts do.
        facts: ``device`` and ``dtype``, as the painter tells them.
    """

    def __init__(self, fence: Fence, facts: Mapping[str, Any]) -> None:
        self._fence = fence
        self._facts = facts
        self._loaded: list[tuple[str, str]] = []
        self._host: Host | None = None

    def host_for(self, told: Mapping[str, Any], checkpoint: str) -> Host:
        """The host with the folders of a message loaded, and its options.

        Args:
            told: What the web process says: ``folders`` (path and print), ``options``,
                ``places``, ``names``, ``flags``.
            checkpoint: Catalog name of the job's; '' = it has none.
        """
        wanted = [(str(path), str(mark)) for path, mark in told["folders"]]
        options = _JobOptions(told["options"])
        if self._host is None or wanted != self._loaded:
            self.close()
            self._host = self._open(told, options)
            self._loaded = wanted
            self._host.load(A1111Folder(Path(path)) for path, _ in wanted)
        host = self._host
        host.options.begin_job(options)
        host.facts |= self._facts
        host.use_checkpoint(checkpoint)
        return host

    def _open(self, told: Mapping[str, Any], options: _JobOptions) -> Host:
        names = told.get("names", {})
        places = {name: Path(path) for name, path in told["places"].items()}
        host = Host(
            "worker",
            Places(**places),
            self._fence,
            options=options,
            flags=Namespace(**told.get("flags", {})),
            names=Names(
                checkpoints=lambda: names.get("checkpoints", []),
                vaes=lambda: names.get("vaes", []),
                upscalers=lambda: names.get("upscalers", []),
                face_restorers=lambda: names.get("face_restorers", []),
                loras=lambda: names.get("loras", []),
                styles=lambda: {k: tuple(v) for k, v in names.get("styles", {}).items()},
                samplers=SAMPLERS,
                schedules=SCHEDULES,
            ),
        )
        host.facts |= {
            "parse_attention": parse_attention, "parse_schedule": _schedule,
            "family_of": _family_of,
        }  # fmt: skip
        host.open()
        return host

    def close(self) -> None:
        """Let the folders go."""
        if self._host is not None:
            self._host.close()
        self._host, self._loaded = None, []


def job_steps(
    host: Host, told: Mapping[str, Any], params: Any
) -> Callable[[Image.Image], list[PostprocessedImage]] | None:
    """What steps of A1111 folders make of a picture of a job; None where none acts on it.

    Args:
        told: As in ``ScriptProcess.host_for``; ``steps`` has by owner and step which of its
            ``fields`` is which argument, the ``usual`` values of all others, and the choices of
            those that are ``numbered``.
    """
    arguments = {
        step: _arguments(facts, values)
        for owner, steps in told["steps"].items()
        for step, facts in steps.items()
        if (values := params.extensions.get(owner)) is not None
    }
    if not arguments:
        return None
    wanted = tuple(host.options.data.get("postprocessing_operation_order") or ())
    steps = ExtrasSteps(host.fence, host.extras_steps(), wanted)
    return lambda image: steps.run(image, arguments)


def _arguments(facts: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    given = {argument: values.get(name) for name, argument in facts["fields"].items()}
    for argument, choices in facts["numbered"].items():
        chosen = str(given[argument])
        given[argument] = choices.index(chosen) if chosen in choices else None
    return {**facts["usual"], **given}


def extras_step(
    host: Host, told: Mapping[str, Any], params: Any
) -> Callable[[Image.Image], list[Stepped]]:
    """What they make of a picture of the Extras tab; see ``job_steps``."""
    steps = job_steps(host, told, params)

    def run(image: Image.Image) -> list[Stepped]:
        used: dict[str, int] = {}
        return [_stepped(one, used) for one in steps(image)] if steps else [Stepped(image)]

    return run


def _stepped(one: PostprocessedImage, used: dict[str, int]) -> Stepped:
    caption = str(one.caption or "").strip()
    return Stepped(one.image.convert("RGB"), told_of_steps(one), one.get_suffix(used), caption)


def _family_of(filename: str) -> str:
    """The family of a checkpoint's file; '' where it cannot be read."""
    try:
        return identify_file(Path(filename)).family
    except CheckpointError:
        return ""


def _schedule(text: str, steps: int) -> list[tuple[int, str]]:
    return [(int(end), str(part)) for end, part in schedule_prompt(text, steps)]
