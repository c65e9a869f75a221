"""Fields of A1111 scripts as a form of ours: for folders that came after the page was drawn.

Gradio's page stays what it was when it was built; forms that are data appear at once. A field that
has none of ours (a picture, a file, several choices) keeps what stands in it at first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from webui.extension_forms import AnyField, Choice, Condition, Form, Words
from webui.extensions.a1111.reading import field_of
from webui.extensions.a1111.script import Script

NONE = "None"
DRAWN = frozenset({"checkbox", "slider", "number", "dropdown", "radio", "textbox", "colorpicker"})
"""Gradio's names of the fields that have one of ours."""
Facts = Callable[[Any], Mapping[str, Any]]
"""What is told of one of Gradio's components: ``label``, ``value``, ``choices`` and so on."""


@dataclass(frozen=True)
class ScriptForm:
    """The form of an extension's scripts on one tab.

    Attributes:
        chooser: Name of the field that chooses a script of the menu; '' = there is none.
        parts: By field, the script and which of its fields it is.
    """

    form: Form
    chooser: str
    parts: Mapping[str, tuple[Script, int]]

    def selected(self, values: Mapping[str, Any]) -> str:
        """Title of the script that shall do the job; '' = none."""
        title = str(values.get(self.chooser) or NONE)
        return "" if title == NONE else title

    def arguments(self, values: Mapping[str, Any]) -> dict[str, list[Any]]:
        """The arguments of all its scripts, by title in lower case."""
        found: dict[str, list[Any]] = {}
        for name, (script, place) in self.parts.items():
            own = found.setdefault(str(script.name), list(script.usual))
            if name in values:
                own[place] = _as_read(list(script.controls)[place], values[name])
        return found


def script_form(
    tab: Literal["txt2img", "img2img"], scripts: Iterable[Script], facts: Facts
) -> ScriptForm | None:
    """The form of some scripts, whose fields were drawn; None where they have nothing to ask."""
    listed = [(script, str(script.title())) for script in scripts]
    titles = [title for script, title in listed if not script.alwayson]
    chooser = f"{tab}_script" if titles else ""
    fields: list[AnyField] = []
    if titles:
        words = Words(en="Script", zh="脚本")
        fields.append(Choice(name=chooser, label=words, choices=(NONE, *titles)))
    parts: dict[str, tuple[Script, int]] = {}
    for number, (script, title) in enumerate(listed):
        sight = None if script.alwayson else Condition(field=chooser, values=(title,))
        for place, control in enumerate(script.controls or ()):
            told, name = facts(control), f"{tab}_{number}_{place}"
            value = _as_shown(control, told["value"])
            if value is None or control.get_block_name() not in DRAWN:
                continue
            made = field_of(name, told["label"] or title, value, told)
            if made is not None:
                fields.append(made.model_copy(update={"visible_if": sight}))
                parts[name] = (script, place)
    if not fields:
        return None
    return ScriptForm(Form(tabs=(tab,), fields=tuple(fields), has_switch=False), chooser, parts)


def _choices(control: Any) -> list[Any]:
    return [choice[1] for choice in getattr(control, "choices", None) or ()]


def _as_shown(control: Any, value: Any) -> Any:
    """What a script reads, as it is chosen: it may read a choice's number."""
    is_number = getattr(control, "type", "") == "index" and isinstance(value, int)
    return _choices(control)[value] if is_number else value


def _as_read(control: Any, value: Any) -> Any:
    """A field's value as its script reads it."""
    choices = _choices(control)
    texts = [str(choice) for choice in choices]
    if value not in texts:
        return value
    place = texts.index(value)
    return place if getattr(control, "type", "") == "index" else choices[place]
