"""Getting weights: a link or a well-known name, and how far everything is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.checkpoints.download.keys import SITES
from webui.checkpoints.download.naming import KINDS
from webui.checkpoints.known_weights import KNOWN
from webui.errors import ParamsError
from webui.ui import cards, models_cards, quicksettings
from webui.ui.painting_tab import PaintingTab, follow_checkpoint, sizes
from webui.ui.quicksettings import Quicksettings
from webui.ui.texts import label, language_of, say
from webui.ui.wiring import Values, tell, wire

if TYPE_CHECKING:
    from webui.services.downloads import Download
    from webui.studio import Studio

TICK_SECONDS = 1.0


@dataclass(frozen=True)
class Get:
    """The part's components.

    Attributes:
        offered: The offers that ``choices`` shows. shown: What ``running`` and ``catalog`` show,
            so that only changes are sent. mirrors … key_save: None where they may not be changed.
    """

    link: gr.Textbox
    kind: gr.Dropdown
    go: gr.Button
    choices: gr.HTML
    offered: gr.State
    running: gr.HTML
    search: gr.Textbox
    only: gr.Dropdown
    catalog: gr.HTML
    shown: gr.State
    timer: gr.Timer
    mirrors: gr.Textbox | None
    mirrors_save: gr.Button | None
    site: gr.Dropdown | None
    key: gr.Textbox | None
    key_save: gr.Button | None
    keys: gr.HTML | None

    def looks(self) -> list[Any]:
        """What a look changes."""
        return [self.running, self.catalog, self.shown, self.timer]

    def takes(self) -> list[Any]:
        """What a look needs."""
        return [self.search, self.only, self.shown]

    def gives(self) -> list[Any]:
        """What ``present`` and ``rest`` change."""
        rest = [part for part in (self.mirrors, self.keys) if part is not None]
        return [*self.looks(), *rest]


def draw(studio: Studio) -> Get:
    """Link, downloads, the list, mirrors and keys."""
    with gr.Column(elem_classes="dq-page dq-get"):
        with gr.Row(elem_classes="dq-tight dq-getlink"):
            link = gr.Textbox(
                label=label("get_link"), placeholder=label("get_link_hint"), max_lines=1,
                elem_id="dq-get-link", scale=6, min_width=220,
            )  # fmt: skip
            kinds = [(label("get_kind_auto"), ""), *((label(f"weights_{k}"), k) for k in KINDS)]
            kind = gr.Dropdown(
                kinds, value="", label=label("get_kind"), elem_id="dq-get-kind", scale=2,
                min_width=140,
            )  # fmt: skip
            go = gr.Button(
                label("get_go"), variant="primary", elem_id="dq-get-go", scale=1, min_width=90
            )
        choices = gr.HTML("", js_on_load=cards.ACTIONS_JS, elem_id="dq-get-choices")
        running = gr.HTML("", js_on_load=cards.ACTIONS_JS, elem_id="dq-get-running")
        settings = _draw_settings(studio)
        gr.HTML(f'<h2 class="dq-heading">{_both("get_known")}</h2>')
        with gr.Row(elem_classes="dq-tight"):
            search = gr.Textbox(
                label=label("get_search"), placeholder=label("get_search_hint"), max_lines=1,
                elem_id="dq-get-search", scale=6, min_width=200,
            )  # fmt: skip
            there = [kind for kind in models_cards.ORDER if kind in {known.kind for known in KNOWN}]
            only = gr.Dropdown(
                [(label("get_all_kinds"), ""), *((label(f"weights_{k}"), k) for k in there)],
                value="", label=label("get_kind"), elem_id="dq-get-only", scale=2, min_width=140,
            )  # fmt: skip
        catalog = gr.HTML("", js_on_load=cards.ACTIONS_JS, elem_id="dq-get-catalog")
    return Get(
        link=link, kind=kind, go=go, choices=choices, offered=gr.State([]), running=running,
        search=search, only=only, catalog=catalog, shown=gr.State(("", "")),
        timer=gr.Timer(TICK_SECONDS, active=False), **settings,
    )  # fmt: skip


def _both(key: str) -> str:
    english, chinese = (cards.esc(say(key, language)) for language in ("en", "zh"))
    return f'<span lang="en">{english}</span> <span lang="zh">{chinese}</span>'


def _draw_settings(studio: Studio) -> dict[str, Any]:
    """The list of mirrors and the keys, where whoever sees the page may change them."""
    with gr.Accordion(label("get_mirrors_and_keys"), open=False, elem_id="dq-get-settings"):
        if not studio.settings.is_private:
            gr.HTML(f'<div class="dq-note">{_both("get_only_here")}</div>')
            return dict.fromkeys(("mirrors", "mirrors_save", "site", "key", "key_save", "keys"))
        mirrors = gr.Textbox(label=label("get_mirrors"), lines=6, elem_id="dq-get-mirrors")
        mirrors_save = gr.Button(
            label("get_mirrors_save"), size="md", elem_id="dq-get-mirrors-save"
        )
        keys = gr.HTML("", elem_id="dq-get-keys")
        with gr.Row(elem_classes="dq-tight"):
            site = gr.Dropdown(
                list(SITES), value=next(iter(SITES)), label=label("get_key_site"), scale=2,
                min_width=160, elem_id="dq-get-site",
            )  # fmt: skip
            key = gr.Textbox(
                label=label("get_key"), info=label("get_key_info"), type="password", scale=5,
                min_width=220, elem_id="dq-get-key",
            )  # fmt: skip
        key_save = gr.Button(label("get_key_save"), size="md", elem_id="dq-get-key-save")
    return {
        "mirrors": mirrors, "mirrors_save": mirrors_save, "site": site, "key": key,
        "key_save": key_save, "keys": keys,
    }  # fmt: skip


def connect(
    parts: Get, studio: Studio, quick: Quicksettings, painting: Sequence[PaintingTab]
) -> None:
    """The timer runs while the tab is open and something is fetched.

    Args:
        quick, painting: The top row and the sizes, which "use it now" changes.
    """
    _connect_looking(parts, studio)
    _connect_asking(parts, studio)
    _connect_deeds(parts, studio, quick, painting)
    _connect_settings(parts, studio)


def _connect_looking(parts: Get, studio: Studio) -> None:
    def look(values: Values, request: gr.Request) -> dict:
        return _look(parts, studio, values, language_of(request))

    triggers = [parts.timer.tick, parts.search.change, parts.only.change]
    wire(
        partial(gr.on, triggers), look, parts.takes(), parts.looks(), is_quiet=True,
        trigger_mode="always_last",
    )  # fmt: skip


def _look(parts: Get, studio: Studio, values: Values, language: str) -> dict[Any, Any]:
    """The lists as they are now, where they differ from what is shown."""
    found = studio.downloads.all()
    running = models_cards.downloads(found, language)
    wanted, only = values[parts.search] or "", values[parts.only] or ""
    catalog = models_cards.catalog(studio, wanted, only, language)
    before = values[parts.shown]
    return {
        parts.running: running if running != before[0] else gr.skip(),
        parts.catalog: catalog if catalog != before[1] else gr.skip(),
        parts.shown: (running, catalog),
        parts.timer: gr.Timer(active=any(one.is_active for one in found)),
    }


def _connect_asking(parts: Get, studio: Studio) -> None:
    def ask(values: Values, request: gr.Request) -> dict:
        language, link = language_of(request), (values[parts.link] or "").strip()
        if not link:
            raise ParamsError(say("get_no_link", language), field="link")
        found = studio.downloads.offers(link, values[parts.kind] or "")
        if len(found) > 1:
            return {
                parts.offered: found,
                parts.choices: models_cards.choices(found, language),
                **dict.fromkeys(parts.looks(), gr.skip()),
                parts.link: gr.skip(),
            }
        studio.downloads.add(found[0])
        tell("get_begun", request, name=found[0].label)
        looked = _look(parts, studio, values, language)
        return {parts.offered: [], parts.choices: "", parts.link: "", **looked}

    def choose(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        offered, language = values[parts.offered], language_of(request)
        if event._data["act"] == "close":
            looked = _look(parts, studio, values, language)
            return {parts.offered: [], parts.choices: "", **looked}
        offer = offered[int(event._data["number"])]
        studio.downloads.add(offer)
        tell("get_begun", request, name=offer.label)
        looked = _look(parts, studio, values, language)
        return {parts.offered: gr.skip(), parts.choices: gr.skip(), **looked}

    takes = [parts.link, parts.kind, *parts.takes()]
    gives = [parts.offered, parts.choices, parts.link, *parts.looks()]
    asked = partial(gr.on, [parts.go.click, parts.link.submit])
    wire(asked, ask, takes, gives, trigger_mode="once")
    takes = [parts.offered, *parts.takes()]
    wire(parts.choices.act, choose, takes, [parts.offered, parts.choices, *parts.looks()])


def _connect_deeds(
    parts: Get, studio: Studio, quick: Quicksettings, painting: Sequence[PaintingTab]
) -> None:
    used = [*quick.components(), *sizes(painting)]

    def get(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        studio.downloads.add_known(event._data["name"])
        tell("get_begun", request, name=event._data["name"])
        return _look(parts, studio, values, language_of(request))

    def act(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        deed, number = event._data["act"], int(event._data["id"])
        row: dict[Any, Any] = dict.fromkeys(used, gr.skip())
        if deed == "use":
            name = use(studio, studio.downloads.get(number))
            tell("get_used", request, name=name)
            row |= quicksettings.present(quick, studio)
            row |= follow_checkpoint(painting, studio, values)
        elif deed == "resume":
            studio.downloads.resume(number, event._data.get("kind", ""))
        elif deed in ("stop", "forget"):
            getattr(studio.downloads, deed)(number)
        return {**row, **_look(parts, studio, values, language_of(request))}

    wire(parts.catalog.act, get, parts.takes(), parts.looks())
    takes = [*parts.takes(), *sizes(painting)]
    wire(parts.running.act, act, takes, [*parts.looks(), *used])


def use(studio: Studio, found: Download) -> str:
    """Choose a file that has come for painting.

    Returns:
        What is chosen, as people see it.
    Raises:
        CheckpointNotFoundError: It is not there any more.
    """
    if found.wanted.kind == "vae":
        record = studio.catalog.find_vae(found.path)
        studio.options.set("sd_vae", record.name)
        studio.options.save()
        return record.name
    wanted = next((r for r in studio.catalog.checkpoints() if str(r.path) == found.path), None)
    return studio.choose_checkpoint(wanted.title if wanted else found.title).title


def _connect_settings(parts: Get, studio: Studio) -> None:
    mirrors, site, key, keys = parts.mirrors, parts.site, parts.key, parts.keys
    if None in (mirrors, site, key, keys, parts.mirrors_save, parts.key_save):
        return
    assert parts.mirrors_save is not None and parts.key_save is not None

    def keep_mirrors(values: Values, request: gr.Request) -> None:
        studio.downloads.change_mirrors(values[mirrors] or "")
        tell("get_mirrors_saved", request)

    def keep_key(values: Values, request: gr.Request) -> dict:
        name, given = values[site], values[key] or ""
        studio.downloads.keys.keep(name, given)
        tell("get_key_saved" if given.strip() else "get_key_gone", request, site=name)
        there = models_cards.keys_line(studio.downloads.keys.sites(), language_of(request))
        return {key: "", keys: there}

    wire(parts.mirrors_save.click, keep_mirrors, [mirrors], [])
    wire(parts.key_save.click, keep_key, [site, key], [key, keys])


def present(parts: Get, studio: Studio, values: Values, language: str) -> dict[Any, Any]:
    """Everything as it is now."""
    changes = _look(parts, studio, {**values, parts.shown: ("", "")}, language)
    if parts.mirrors is not None and parts.keys is not None:
        info = say("get_mirrors_info", language, path=studio.settings.folders.mirrors)
        changes[parts.mirrors] = gr.update(value=studio.downloads.mirrors(), info=info)
        changes[parts.keys] = models_cards.keys_line(studio.downloads.keys.sites(), language)
    return changes


def rest(parts: Get) -> dict[Any, Any]:
    """Nobody looks."""
    return {**dict.fromkeys(parts.gives(), gr.skip()), parts.timer: gr.Timer(active=False)}
