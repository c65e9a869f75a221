"""What stands in a painting tab's form, kept for each browser: a closed tab loses nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.ui import prompt_box, quicksettings
from webui.ui.painting_tab import PaintingTab
from webui.ui.session import client_name
from webui.ui.start_fields import first_values, usable_values
from webui.ui.wiring import Values, wire

if TYPE_CHECKING:
    from webui.studio import Studio


OnKeep = Callable[[str, dict[str, Any], dict[str, Any], gr.Request], dict[Any, Any]]
"""Told of a browser's name, its draft before and its draft now; answers with changes."""


def connect(
    parts: PaintingTab,
    studio: Studio,
    browser: gr.BrowserState,
    on_keep: OnKeep | None = None,
    gives: Sequence[Any] = (),
) -> None:
    """Keep what stands in the form.

    Args:
        on_keep: Called whenever a draft is saved. gives: What it may change.
    """
    form, prompts = parts.form, parts.prompts

    def keep(values: Values, request: gr.Request) -> dict:
        draft, changes = form.read(values), {}
        if values[parts.is_restored]:
            draft["auto_size"] = list(values[parts.auto_size])
            client = client_name(values[browser], request)
            before = studio.drafts.load(client, parts.tab)
            studio.drafts.save(client, parts.tab, draft)
            first = {**form.usual(), **_first(parts, studio), **before}
            fields = {name: first[name] for name in form.by_name()}
            studio.form_history.keep(client, parts.tab, fields, form.read(values))
            if on_keep is not None:
                changes = on_keep(client, before, draft, request)
        return {**changes, **count_prompts(parts, studio, draft)}

    save_after_changes(form.components(), parts.buttons.autosave)
    takes = [*form.components(), parts.is_restored, parts.auto_size, browser]
    counters = [prompts.prompt_tokens, prompts.negative_tokens]
    wire(
        parts.buttons.autosave.click,
        keep,
        takes,
        [*counters, *gives],
        is_quiet=True,
        trigger_mode="always_last",
        for_guests=True,
    )


def save_after_changes(fields: Sequence[Any], autosave: gr.Button) -> None:
    """Whatever changes a field, a person or an answer: page.js presses the hidden button soon."""
    gr.on(
        [field.change for field in fields],
        None,
        js=f"() => window.danqingChanged({json.dumps(autosave.elem_id)})",
        show_progress="hidden",
        api_visibility="private",
    )


def count_prompts(parts: PaintingTab, studio: Studio, draft: dict[str, Any]) -> dict:
    """Both token counters."""
    prompts = parts.prompts
    facts = {"steps": int(draft.get("steps") or 20), "styles": draft.get("styles") or ()}

    def counted(name: str) -> str:
        is_positive = name == "prompt"
        text = draft[name] or ""
        found = studio.tokens.count_written(text, is_positive=is_positive, **facts)
        return prompt_box.counter(*found)

    return {
        prompts.prompt_tokens: counted("prompt"),
        prompts.negative_tokens: counted("negative_prompt"),
    }


def restore(parts: PaintingTab, studio: Studio, client: str, language: str = "") -> dict:
    """The form as this browser left it; for a new browser, the checkpoint's own size."""
    draft = studio.drafts.load(client, parts.tab)
    record = studio.current_checkpoint()
    native = studio.native_size(record)
    auto_size = tuple(draft.pop("auto_size", (native, native)))
    if not draft:
        draft = _first(parts, studio)
    changes = {
        parts.is_restored: True,
        parts.auto_size: auto_size,
        **parts.form.write(quicksettings.with_known_script(parts.form, draft, studio)),
        **count_prompts(parts, studio, {**parts.form.defaults, **draft}),
    }
    chips = draft.get("overrides") or []
    if chips:
        changes[parts.form.overrides] = gr.update(value=chips, choices=chips, visible=True)
    changes[parts.form.styles] = gr.update(
        choices=list(studio.styles.by_name()), value=draft.get("styles", [])
    )
    menus = quicksettings.present_menus([parts.form], studio, language)
    for menu, update in menus.items():
        changes[menu] = {**changes.get(menu, {}), **update}
    return changes


def _first(parts: PaintingTab, studio: Studio) -> dict[str, Any]:
    """What a fresh page begins with, where that is not the form's default."""
    first = {**first_values(parts, studio), **usable_values(parts, studio)}
    usual = parts.form.usual()
    return {name: value for name, value in first.items() if value != usual.get(name)}


def gives(parts: PaintingTab) -> list[Any]:
    """What ``restore`` may change."""
    prompts = parts.prompts
    return [
        parts.is_restored, parts.auto_size, *parts.form.components(), prompts.prompt_tokens,
        prompts.negative_tokens,
    ]  # fmt: skip
