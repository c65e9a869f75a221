"""The page: top row and tabs, drawn and wired, and how it is put on the server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from webui.ui import (
    a1111_page,
    cost,
    draft,
    extensions_tab,
    gallery,
    img2img,
    models_tab,
    painting_tab,
    picture_buttons,
    png_info,
    queue_tab,
    quicksettings,
    restore,
    results,
    settings_tab,
    train,
    txt2img,
)
from webui.ui.first_script import FirstScript
from webui.ui.guest_page import build_guest_page
from webui.ui.img2img import Img2Img
from webui.ui.input_routes import MAX_UPLOAD_BYTES
from webui.ui.login import PageDoor, Visitors, make_login_routes
from webui.ui.models_tab import ModelsTab
from webui.ui.page_parts import TITLE, connect_img2img_draft, draw_head
from webui.ui.png_info import PngInfo
from webui.ui.queue_tab import QueueTab
from webui.ui.quicksettings import Quicksettings
from webui.ui.restore import Restore
from webui.ui.results import Results
from webui.ui.routes import make_routes
from webui.ui.said import error_answer
from webui.ui.session import client_name, new_browser_id
from webui.ui.texts import I18N, label, language_of
from webui.ui.theme import head, make_theme, style_sheet
from webui.ui.train import Train
from webui.ui.txt2img import Txt2Img
from webui.ui.wiring import Values, wire

if TYPE_CHECKING:
    from webui.studio import Studio

QUEUE_LOOKS_EVERY_SECONDS = 0.02
"""Gradio's queue looks for new events every millisecond, which keeps 6 % of a core busy all day;
this delays a click by at most 20 ms."""


@dataclass(frozen=True)
class Page:
    """Everything that was drawn."""

    browser: gr.BrowserState
    tabs: gr.Tabs
    open_tab: gr.Textbox
    quick: Quicksettings
    txt2img: Txt2Img
    img2img: Img2Img
    restore: Restore
    gallery: gr.HTML
    train: Train
    png_info: PngInfo
    models: ModelsTab
    queue: QueueTab


def build_page(studio: Studio) -> tuple[gr.Blocks, Page]:
    """Draw and wire the whole page for one studio."""
    tabs_of_scripts = a1111_page.draw_tabs(studio)
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as blocks:
        page = _draw(studio, tabs_of_scripts)
        _connect(page, blocks, studio)
        a1111_page.connect(blocks, studio)
    return blocks, page


def _draw(studio: Studio, tabs_of_scripts: list[a1111_page.Tab]) -> Page:
    browser, quick = draw_head(studio)
    with gr.Tabs(elem_id="dq-tabs") as tabs:
        with gr.Tab(label("tab_txt2img"), id="txt2img"):
            painting = txt2img.draw(studio)
        with gr.Tab(label("tab_img2img"), id="img2img"):
            repainting = img2img.draw(studio)
        with gr.Tab(label("tab_restore"), id="restore"):
            restoring = restore.draw(studio)
        with gr.Tab(label("tab_gallery"), id=gallery.TAB):
            pictures = gallery.draw()
        with gr.Tab(label("tab_train"), id="train"):
            training = train.draw(studio)
        with gr.Tab(label("tab_png_info"), id="png_info"):
            info = png_info.draw(studio)
        with gr.Tab(label("tab_models"), id="models"):
            models = models_tab.draw(studio)
        with gr.Tab(label("tab_queue"), id="queue"):
            queue = queue_tab.draw(studio)
        with gr.Tab(label("tab_extensions"), id="extensions"):
            extensions_tab.draw()
        with gr.Tab(label("tab_settings"), id="settings"):
            settings_tab.draw()
        a1111_page.place_tabs(tabs_of_scripts)
    open_tab = gr.Textbox("txt2img", visible="hidden", elem_id="dq-open-tab")
    return Page(
        browser, tabs, open_tab, quick, painting, repainting, restoring, pictures, training, info,
        models, queue,
    )  # fmt: skip


def _connect(page: Page, blocks: gr.Blocks, studio: Studio) -> None:
    forms = page.txt2img.form, page.img2img.form
    quicksettings.connect(page.quick, studio, forms)
    txt2img.connect(page.txt2img, studio, page.browser, page.quick)
    keep_cost, cost_lines = cost.on_keep(page.txt2img, studio), [page.txt2img.cost]
    draft.connect(page.txt2img, studio, page.browser, keep_cost, cost_lines)
    img2img.connect(page.img2img, studio, page.browser, page.quick)
    connect_img2img_draft(page.img2img, page.browser, studio)
    painting_tab.connect_checkpoint([page.txt2img, page.img2img], studio, page.quick)
    restore.connect(page.restore, studio, page.browser)
    train.connect(page.train, studio, page.browser)
    png_info.connect(page.png_info, studio)
    models_tab.connect(page.models, studio, page.browser, page.quick, [page.txt2img, page.img2img])
    queue_tab.connect(page.queue, studio, page.browser)
    queue_tab.connect_editing(
        page.queue, studio, page.browser, page.tabs, [page.txt2img, page.img2img], page.restore
    )
    targets = picture_buttons.connect(
        page.txt2img, page.img2img, page.restore, page.png_info, page.tabs, page.quick,
        page.browser, studio,
    )  # fmt: skip
    gallery.connect(page.gallery, studio, page.browser, page.quick, targets)
    _connect_tabs(page, studio)
    _connect_load(page, blocks, studio)


def _connect_tabs(page: Page, studio: Studio) -> None:
    """Stages and the queue are looked at only while their tab is open.

    A choice is written down on the page at once, and answered from there: when several tabs are
    opened in quick succession, the last answer is the one of the tab that is open.
    """

    def open_tab(values: Values, request: gr.Request) -> dict:
        chosen = values[page.open_tab]
        changes: dict[Any, Any] = {page.queue.timer: gr.Timer(active=chosen == "queue")}
        for tab, stage in _stages(page).items():
            if chosen == tab:
                changes |= results.refresh(
                    stage, studio, values, page.browser, request, sends_all=True
                )
            else:
                changes |= results.rest(stage)
        if chosen == "queue":
            values[page.queue.html] = ""  # whatever it shows, it is sent anew
            changes |= queue_tab.refresh(page.queue, studio, values, page.browser, request)
        if chosen == "models":
            client, language = client_name(values[page.browser], request), language_of(request)
            changes |= models_tab.opened(page.models, studio, values, client, language)
        else:
            changes |= models_tab.left(page.models)
        if chosen == "train":
            changes |= train.opened(page.train, studio, values, page.browser, request)
        else:
            changes |= train.left(page.train)
        return changes

    stages = list(_stages(page).values())
    takes = [
        page.open_tab, page.browser, page.queue.html, *page.models.takes(), *page.train.takes(),
        *(part for stage in stages for part in stage.takes()),
    ]  # fmt: skip
    gives = [
        page.queue.timer, *page.queue.gives(), *page.models.gives(),
        *page.train.gives(),
        *(part for stage in stages for part in stage.gives()),
    ]  # fmt: skip
    for tab in page.tabs.children:
        assert isinstance(tab, gr.Tab)
        tab.select(None, None, page.open_tab, js=f"() => {json.dumps(tab.id)}")
    wire(page.open_tab.change, open_tab, takes, gives)


def _stages(page: Page) -> dict[str, Results]:
    """The stages of the page by their tabs' ids."""
    return {
        "txt2img": page.txt2img.results,
        "img2img": page.img2img.results,
        "restore": page.restore.results,
    }


def _connect_load(page: Page, blocks: gr.Blocks, studio: Studio) -> None:
    """A page that opens: who is it, what was in its form, what are its jobs doing."""

    def load(values: Values, request: gr.Request) -> dict:
        browser_id = values[page.browser] or new_browser_id()
        values = {**values, page.browser: browser_id}
        client = client_name(browser_id, request)
        language = language_of(request)
        changes: dict[Any, Any] = {}
        for stage in _stages(page).values():
            changes |= results.refresh(stage, studio, values, page.browser, request)
        return {
            page.browser: browser_id,
            **quicksettings.present(page.quick, studio),
            **draft.restore(page.txt2img, studio, client),
            **draft.restore(page.img2img, studio, client),
            **img2img.present(page.img2img, studio, client, language),
            **restore.present(page.restore, studio, client, values, language),
            **changes,
            **png_info.present(page.png_info, None, False, language),
        }

    gives = [
        page.browser, *page.quick.components(), *draft.gives(page.txt2img),
        *draft.gives(page.img2img), *img2img.presents(page.img2img),
        *(part for stage in _stages(page).values() for part in stage.gives()),
        *restore.presents(page.restore), *page.png_info.gives(),
    ]  # fmt: skip
    takes = [page.browser, *(part for stage in _stages(page).values() for part in stage.takes())]
    wire(blocks.load, load, takes, gives).then(None, js="() => window.danqingOpened()")


def mount(app: FastAPI, studio: Studio) -> FastAPI:
    """Put the page at ``/`` of an application, behind its login.

    The page's own routes lie on the outer application and ask who is there in the same way.
    """
    visitors = Visitors(studio)
    blocks, page = build_page(studio)
    app.add_exception_handler(
        HTTPException,
        error_answer(app.exception_handlers[HTTPException]),  # pyright: ignore
    )
    app.include_router(make_login_routes(studio, visitors))
    app.include_router(make_routes(studio, visitors, [page.txt2img, page.img2img]))
    owners = _mount_blocks(
        app, blocks, studio, visitors, output_folders(studio), a1111_page.head(studio)
    )
    guests = None
    if studio.access.has_guests:
        guests = _mount_blocks(app, build_guest_page(studio), studio, visitors, [])
        app.router.routes.pop()
    mounted: Any = app.router.routes[-1]
    mounted.app = FirstScript(PageDoor(owners, guests, visitors, f"{studio.settings.subpath}/"))
    a1111_page.app_started(app, blocks, studio, visitors)
    return app


def _mount_blocks(
    app: FastAPI,
    blocks: gr.Blocks,
    studio: Studio,
    visitors: Visitors,
    folders: list[str],
    more_head: str = "",
) -> Any:
    """Mount one of the pages; returns Gradio's application.

    Args:
        folders: What Gradio may serve files from, besides what was uploaded to it.
        more_head: What else stands in the document's head.
    """
    settings = studio.settings
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        server_name=settings.host,
        server_port=settings.port,
        auth_dependency=visitors.name_of,
        root_path=settings.subpath or None,
        allowed_paths=folders,
        blocked_paths=[str(settings.folders.data / part) for part in ("config.json", "data")],
        max_file_size=MAX_UPLOAD_BYTES,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        i18n=I18N,
        theme=make_theme(),
        css=style_sheet(),
        head=head(settings.theme) + more_head,
    )
    blocks._queue.sleep_when_free = QUEUE_LOOKS_EVERY_SECONDS
    mounted: Any = app.router.routes[-1]
    return mounted.app


def output_folders(studio: Studio) -> list[str]:
    """The folders pictures are written to: all that Gradio may serve files from.

    An output folder that lies around the program or its data (``/``, a home folder) is written
    to, but never served: it would open everything in it to whoever knows the page's password.
    """
    data = studio.settings.folders.data
    chosen = [studio.options[key] for key in studio.options.as_dict() if key.startswith("outdir_")]
    folders = [
        data / "outputs",
        data / "cache" / "results",
        *(data / part for part in chosen if part),
    ]
    return sorted({str(f) for f in folders if not studio.settings.folders.are_inside(f)})
