"""The page: top row and tabs, drawn and wired, and how it is put on the server."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from webui.ui import (
    a1111_page,
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
    settings_tab,
    train,
    txt2img,
)
from webui.ui.blocks import PageBlocks
from webui.ui.first_script import FirstScript
from webui.ui.guest_page import build_guest_page
from webui.ui.input_routes import MAX_UPLOAD_BYTES
from webui.ui.login import PageDoor, Visitors, make_login_routes
from webui.ui.models_tab import ModelsTab
from webui.ui.owners_page import OwnersPage
from webui.ui.page_parts import (
    TITLE,
    Changes,
    PaintingPage,
    RestingTab,
    connect_load,
    connect_painting,
    connect_tabs,
    draw_head,
)
from webui.ui.painting_tab import PaintingTab
from webui.ui.png_info import PngInfo
from webui.ui.restore import Restore
from webui.ui.results import Results
from webui.ui.routes import make_routes
from webui.ui.said import error_answer
from webui.ui.session import client_name
from webui.ui.texts import I18N, label, language_of
from webui.ui.theme import head, make_theme, style_sheet
from webui.ui.train import Train
from webui.ui.wiring import Values

if TYPE_CHECKING:
    from webui.studio import Studio

QUEUE_LOOKS_EVERY_SECONDS = 0.02
"""Gradio's queue looks for new events every millisecond, which keeps 6 % of a core busy all day;
this delays a click by at most 20 ms."""


@dataclass(frozen=True)
class Page(PaintingPage):
    """Everything that was drawn."""

    restore: Restore
    train: Train
    png_info: PngInfo
    models: ModelsTab

    @property
    def stages(self) -> dict[str, Results]:
        """With that of restored photographs."""
        return {**super().stages, "restore": self.restore.results}


def build_page(studio: Studio, first_id: int = 0) -> tuple[gr.Blocks, Page]:
    """Draw and wire the whole page for one studio.

    Args:
        first_id: Handlers are numbered from here.
    """
    if studio.extensions.scripts is not None:
        studio.extensions.scripts.page_begins()
    tabs_of_scripts = a1111_page.draw_tabs(studio)
    with PageBlocks(title=TITLE, analytics_enabled=False, fill_width=True) as blocks:
        blocks.default_config.fn_id = first_id
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
        browser, tabs, open_tab, quick, painting, repainting, pictures, queue, restoring, training,
        info, models,
    )  # fmt: skip


def _connect(page: Page, blocks: gr.Blocks, studio: Studio) -> None:
    forms = page.txt2img.form, page.img2img.form
    quicksettings.connect(page.quick, studio, forms)
    connect_painting(page, studio)
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
    connect_tabs(page, studio, _resting_tabs(page, studio))
    _connect_load(page, blocks, studio)


def _resting_tabs(page: Page, studio: Studio) -> list[RestingTab]:
    def open_models(values: Values, request: gr.Request) -> Changes:
        client, language = client_name(values[page.browser], request), language_of(request)
        return models_tab.opened(page.models, studio, values, client, language)

    def open_train(values: Values, request: gr.Request) -> Changes:
        return train.opened(page.train, studio, values, page.browser, request)

    models, training = page.models, page.train
    return [
        RestingTab(
            "models", models.takes(), models.gives(), open_models, partial(models_tab.left, models)
        ),
        RestingTab(
            "train", training.takes(), training.gives(), open_train, partial(train.left, training)
        ),
    ]


def _connect_load(page: Page, blocks: gr.Blocks, studio: Studio) -> None:
    def present(values: Values, client: str, language: str) -> Changes:
        return {
            **restore.present(page.restore, studio, client, values, language),
            **png_info.present(page.png_info, None, False, language),
        }

    presents = [*restore.presents(page.restore), *page.png_info.gives()]
    connect_load(page, blocks, studio, present, presents)


def mount(app: FastAPI, studio: Studio) -> FastAPI:
    """Put the page at ``/`` of an application, behind its login.

    The page's own routes lie on the outer application and ask who is there in the same way.
    """
    visitors = Visitors(studio)

    def draw_owners(first_id: int) -> tuple[gr.Blocks, list[PaintingTab]]:
        blocks, page = build_page(studio, first_id)
        return blocks, [page.txt2img, page.img2img]

    def mount_owners(blocks: gr.Blocks, more_head: str) -> ASGIApp:
        made = _mount_blocks(app, blocks, studio, visitors, output_folders(studio), more_head)
        app.router.routes.pop()
        return made

    owners = OwnersPage(app, studio, visitors, draw_owners, mount_owners)
    studio.extensions.renew_page = owners.renew
    app.add_exception_handler(
        HTTPException,
        error_answer(app.exception_handlers[HTTPException]),  # pyright: ignore
    )
    app.include_router(make_login_routes(studio, visitors))
    app.include_router(make_routes(studio, visitors, owners.tabs, lambda: owners.number))
    guests = None
    if studio.access.has_guests:
        guests = _mount_blocks(app, build_guest_page(studio), studio, visitors, [])
        app.router.routes.pop()
    owners.open_routes()
    app.router.routes.append(owners.routes)
    door = PageDoor(owners, guests, visitors, f"{studio.settings.subpath}/")
    app.mount("/", FirstScript(door))
    app.router.lifespan_context = owners.live_with(app.router.lifespan_context)
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
