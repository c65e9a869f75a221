"""What is known of an extension beside its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from webui.extension_forms import AnyField, Form
from webui.extensions.folders import Extension
from webui.hookspecs import JobKind, Plan, Tab


@dataclass
class Known:
    """One extension.

    Attributes:
        is_loaded: Its web part is, or it has none and its worker part may be.
        seconds: How long loading took here.
        forms: By tab. settings, fields: By name; ``fields`` are those of all its forms.
        plans: By name.
        acts: It joins moments of jobs.
        undo: What takes back what it added to lists of the program.
    """

    extension: Extension
    is_loaded: bool = False
    seconds: float = 0.0
    forms: dict[str, Form] = field(default_factory=dict)
    settings: dict[str, AnyField] = field(default_factory=dict)
    fields: dict[str, AnyField] = field(default_factory=dict)
    tabs: list[Tab] = field(default_factory=list)
    job_kinds: dict[str, JobKind] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    acts: bool = False
    undo: list[Callable[[], None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.extension.name

    @property
    def all_fields(self) -> dict[str, AnyField]:
        """Those of forms and settings."""
        return {**self.fields, **self.settings}


@dataclass(frozen=True)
class Refreshed:
    """What a look into the folders brought.

    Attributes:
        restarts_worker: A worker part that is in use has changed.
    """

    new: tuple[str, ...]
    gone: tuple[str, ...]
    changed: tuple[str, ...]
    restarts_worker: bool
