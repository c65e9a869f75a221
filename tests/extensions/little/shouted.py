"""A single file: loaded in both processes."""

from __future__ import annotations

from webui.hookspecs import Form, hook


@hook
def forms() -> list[Form]:
    return [Form(has_switch=False, tabs=("txt2img",))]


@hook
def rewrite_prompt(text: str, which: str) -> str | None:
    return text.upper() if which == "prompt" else None
