"""What plans are told there is to name: files, samplers, styles, and how a written name is meant.

Source:
    How loosely names may be written: A1111 1.10's X/Y/Z plot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from webui.checkpoints.catalog import Catalog
from webui.errors import CheckpointNotFoundError, ParamsError
from webui.hookspecs import NameKind
from webui.params import LATENT_UPSCALE_MODES
from webui.prompts.styles import StyleFiles
from webui.samplers.names import SAMPLERS, SCHEDULES, find_sampler, find_schedule
from webui.services.named_weights import NamedWeights
from webui.services.resolve import draw_seed, known_sampler


@dataclass(frozen=True)
class Names:
    """``hookspecs.Names`` over what is here now."""

    catalog: Catalog
    weights: NamedWeights
    styles: StyleFiles

    def all(self, kind: NameKind) -> Sequence[str]:
        """All of a kind, as menus list them; see ``hookspecs.Names``."""
        return _kind(kind)[0](self)

    def find(self, kind: NameKind, text: str) -> str:
        """The one that is meant; see ``hookspecs.Names``."""
        return _kind(kind)[1](self, text)

    def seed(self, wanted: Any) -> int:
        """A seed as a number; see ``hookspecs.Names``."""
        return draw_seed(wanted)


def _kind(kind: NameKind) -> tuple[_All, _Find]:
    if kind not in _KINDS:
        raise KeyError(f"no kind of names is called {kind!r}; there are {', '.join(_KINDS)}")
    return _KINDS[kind]


def _checkpoints(names: Names) -> Sequence[str]:
    usable = (record.title for record in names.catalog.checkpoints() if not record.problem)
    return sorted(usable, key=str.casefold)


def _checkpoint(names: Names, text: str) -> str:
    record = names.catalog.closest_checkpoint(text)
    return record.name if record else names.catalog.find_checkpoint(text).name


def _vae(names: Names, text: str) -> str:
    """«Automatic», «None», or the shortest name that holds the text."""
    wanted = text.strip().lower()
    if wanted in ("auto", "automatic"):
        return "Automatic"
    if wanted in ("", "none"):
        return "None"
    fitting = [record.name for record in names.catalog.vaes() if wanted in record.name.lower()]
    return min(fitting, key=len) if fitting else names.catalog.find_vae(text).name


def _sampler(names: Names, text: str) -> str:
    """A sampler without the schedule that may stand behind its name."""
    info = find_sampler(text)
    return info.name if info else known_sampler(text, None).sampler


def _schedule(names: Names, text: str) -> str:
    for info in SCHEDULES:
        if text.strip().lower() in (info.label.lower(), info.name):
            return info.label
    found = find_schedule(text)
    if found is None:
        known = ", ".join(info.label for info in SCHEDULES)
        raise ParamsError(
            f"No schedule is called {text[:80]!r}.", f"Known: {known}.", field="values"
        )
    return found.label


def _upscaler(names: Names, text: str) -> str:
    found = names.weights.find_upscaler(text)
    if found is None:
        raise _no_upscaler(text, names.weights.upscaler_names())
    return found


def _hires_upscalers(names: Names) -> Sequence[str]:
    return [*LATENT_UPSCALE_MODES, *names.weights.upscaler_names()]


def _hires_upscaler(names: Names, text: str) -> str:
    for mode in LATENT_UPSCALE_MODES:
        if mode.lower() == text.strip().lower():
            return mode
    found = names.weights.find_upscaler(text)
    if found is None:
        raise _no_upscaler(text, _hires_upscalers(names))
    return found


def _no_upscaler(text: str, known: Sequence[str]) -> CheckpointNotFoundError:
    return CheckpointNotFoundError(
        f"No upscaler is called {text[:80]!r}.", f"There are: {', '.join(known)}."
    )


_All = Callable[[Names], Sequence[str]]
_Find = Callable[[Names, str], str]
_KINDS: dict[str, tuple[_All, _Find]] = {
    "checkpoint": (_checkpoints, _checkpoint),
    "vae": (lambda names: [record.name for record in names.catalog.vaes()], _vae),
    "sampler": (lambda names: [info.name for info in SAMPLERS], _sampler),
    "schedule": (lambda names: [info.label for info in SCHEDULES], _schedule),
    "upscaler": (lambda names: names.weights.upscaler_names(), _upscaler),
    "hires_upscaler": (_hires_upscalers, _hires_upscaler),
    "face_restorer": (
        lambda names: [file.name for file in names.weights.face_restorers()],
        lambda names, text: names.weights.find_face_restorer(text),
    ),
    "style": (lambda names: list(names.styles.by_name()), lambda names, text: text.strip()),
}
