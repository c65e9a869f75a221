"""Draws scripts' fields and remembers what they are; called by the program, not by scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.blocks import Block

from webui.extensions.a1111.fences import LOAD_SECONDS
from webui.extensions.a1111.host import Host
from webui.extensions.a1111.postprocessing import ScriptPostprocessing
from webui.extensions.a1111.runner import ScriptRunner
from webui.extensions.a1111.script import OnComponent, Script

ONE_VALUE = (
    gr.Checkbox, gr.ColorPicker, gr.Dropdown, gr.Number, gr.Radio, gr.Slider, gr.Textbox,
)  # fmt: skip


def draw_scripts(host: Host, runner: ScriptRunner) -> dict[str, gr.Column]:
    """Draw all scripts of a tab where the caller is in a page.

    Returns:
        The panel of each script of the menu, by its title; none is in sight.
    """
    runner.forget_controls()
    for script in runner.alwayson_scripts:
        with gr.Column(elem_classes="dq-script", min_width=0) as panel:
            _draw(host, runner, script, panel)
    panels: dict[str, gr.Column] = {}
    for script, title in zip(runner.selectable_scripts, runner.titles, strict=True):
        with gr.Column(visible=False, elem_classes="dq-panel", min_width=0) as panel:
            _draw(host, runner, script, panel)
        panels[title] = panel
    return panels


def _draw(host: Host, runner: ScriptRunner, script: Script, panel: gr.Column) -> None:
    done, controls = host.fence.call(
        script.extension, "ui", script.ui, runner.is_img2img, seconds=LOAD_SECONDS
    )
    done, usual = host.fence.call(script.extension, "ui", _usual, controls) if done else (False, [])
    if not done:
        panel.visible = False
    runner.keep_controls(script, list(controls or ()) if done else [], usual or [])
    if done and script.infotext_fields:
        runner.infotext_fields += list(script.infotext_fields)
    if done and script.paste_field_names:
        runner.paste_field_names += list(script.paste_field_names)


def _usual(controls: Any) -> list[Any]:
    """What stands in a script's fields at first."""
    listed = list(controls or ())
    if not all(isinstance(one, Block) for one in listed):
        raise TypeError("ui() returned other than fields")
    return [value_of(one) for one in listed]


def component_drawn(host: Host, runner: ScriptRunner, component: Any, elem_id: str) -> None:
    """Tell scripts that a field of the form is there."""
    label = str(getattr(component, "label", "") or "")
    facts: dict[str, Any] = {"elem_id": elem_id, "label": label}
    for method, wanted in (("before_component", "on_before_component_elem_id"),
                           ("after_component", "on_after_component_elem_id")):  # fmt: skip
        host.callbacks.call(method, component, **facts)
        for script in runner.scripts:
            deed = getattr(script, method)
            host.fence.call(script.extension, method, deed, component, **facts)
            for named, callback in getattr(script, wanted) or ():
                if named == elem_id:
                    told = OnComponent(component)
                    host.fence.call(script.extension, f"on_{method}", callback, told)


def usual_values(runner: ScriptRunner) -> dict[str, list[Any]]:
    """What stands in all fields of scripts on a fresh page, by script."""
    return {script.name or "": list(script.usual) for script in runner.all_in_order}


def value_of(component: Any) -> Any:
    """A field's value as a script would be handed it."""
    value = getattr(component, "value", None)
    value = value() if callable(value) else value
    if getattr(component, "type", "") == "index" and hasattr(component, "choices"):
        values = [choice[1] for choice in component.choices]
        return values.index(value) if value in values else None
    return value if _is_plain(value) else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str, Mapping))


def argument_facts(component: Any) -> dict[str, Any]:
    """A field as ``/sdapi/v1/script-info`` tells it."""
    choices = getattr(component, "choices", None)
    return {
        "label": getattr(component, "label", None),
        "value": value_of(component),
        "minimum": getattr(component, "minimum", None),
        "maximum": getattr(component, "maximum", None),
        "step": getattr(component, "step", None),
        "choices": [choice[1] for choice in choices] if choices else None,
    }


def step_facts(component: Any) -> dict[str, Any] | None:
    """A field of a step of Extras as ``argument_facts``; None where it holds other than one text,
    number or choice. ``numbered`` says that the step reads the number of its choice."""
    is_one = isinstance(component, ONE_VALUE) and not getattr(component, "multiselect", False)
    if not is_one or (isinstance(component, gr.Number) and component.value is None):
        return None
    numbered = getattr(component, "type", "") == "index"
    facts = argument_facts(component)
    if numbered and facts["value"] is not None:
        facts["value"] = facts["choices"][facts["value"]]
    return {**facts, "numbered": numbered}


def draw_headless(host: Host, runner: ScriptRunner) -> None:
    """Learn what fields scripts have where no page is drawn."""
    with gr.Blocks(analytics_enabled=False):
        draw_scripts(host, runner)


def draw_steps(host: Host, steps: Sequence[ScriptPostprocessing]) -> dict[str, dict[str, Any]]:
    """The fields of steps of Extras, by step and argument."""
    found: dict[str, dict[str, Any]] = {}
    with gr.Blocks(analytics_enabled=False):
        for step in steps:
            done, controls = host.fence.call(step.extension, "ui", step.ui, seconds=LOAD_SECONDS)
            if done:
                found[step.name] = dict(controls or {})
    return found


def draw_tabs(host: Host) -> list[tuple[Any, str, str]]:
    """Tabs of extensions' own: a page, its title, its id."""
    tabs: list[tuple[Any, str, str]] = []
    for callback, answer in host.callbacks.called("ui_tabs"):
        for tab in answer or ():
            try:
                blocks, title, elem_id = tab
            except (TypeError, ValueError) as err:
                host.fence.report(callback.owner, "on_ui_tabs", err)
                continue
            tabs.append((blocks, str(title), str(elem_id)))
    return tabs
