"""Joins every moment of the web process; keeps what it was told in ``heard``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from webui.hookspecs import (
    Choice,
    Form,
    JobKind,
    SavedPicture,
    Switch,
    Tab,
    Text,
    Values,
    Whole,
    hook,
)  # fmt: skip

heard: list[tuple[Any, ...]] = []


@hook
def forms() -> list[Form]:
    word = Text(name="word", default="kept", infotext="Kept word")
    loud = Switch(name="loud")
    return [Form(fields=(word, loud, Choice(name="how", choices=("soft", "hard"))))]


@hook
def settings() -> list[Whole]:
    return [Whole(name="most", default=3, maximum=9)]


@hook
def tabs() -> list[Tab]:
    return [Tab("Words")]


@hook
def job_kinds() -> list[JobKind]:
    return [JobKind("count", fields=(Whole(name="upto", default=2),))]


@hook
def routes(router: Any) -> None:
    @router.get("/word/{word}")
    def word(word: str) -> dict[str, str]:
        if word == "boom":
            raise RuntimeError("boom")
        return {"word": word}


@hook
def rewrite_prompt(text: str, which: str, values: Values) -> str | None:
    return f"{text}, {values['word']}" if which == "prompt" else None


@hook
def params_resolved(params: Any, values: Values) -> Any:
    return params.model_copy(update={"steps": 0 if values["loud"] else params.steps + 1})


@hook
def scripts_read(scripts: dict[str, Any], warn: Callable[[str], None]) -> dict[str, Any]:
    if "old words" not in scripts:
        return scripts
    warn("old words: now words_kept")
    return {"words_kept": scripts["old words"]}


@hook
def infotext_read(pairs: dict[str, str]) -> dict[str, str]:
    return {**pairs, "Kept word": pairs.get("Old word", pairs.get("Kept word", ""))}


@hook
def before_save(picture: SavedPicture) -> SavedPicture:
    return replace(picture, infotext=f"{picture.infotext}, Saved: True")


@hook
def after_save(picture: SavedPicture) -> None:
    heard.append(("saved", picture.path is not None))


@hook
def job_ended(job_id: int, state: str) -> None:
    heard.append(("ended", state))
