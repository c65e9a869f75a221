"""The stage at the right: preview, progress, pictures, recipe, and what to do with a picture.

The page looks (follow.py) when it is loaded, after everything a person asked for and, while this
browser has unfinished jobs, on every tick of a timer; what did not change is not sent again.
Looks of one stage come one after another: of two at once the older could arrive last and stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import JobError, LibraryError
from webui.params import AnyParams
from webui.services.follow_ups import STRONG, SUBTLE, Parent, parent_of, vary
from webui.ui import cards, sending
from webui.ui.follow import FOUR, PAINTING_KINDS, Look, look
from webui.ui.prompt_box import icon_button
from webui.ui.session import Visitor, client_name, user_of, visitor_of
from webui.ui.tab_ids import elem_id
from webui.ui.texts import language_of, say
from webui.ui.wiring import Values, show_error, wire, wire_then_press

if TYPE_CHECKING:
    from webui.library.library import SavedPicture
    from webui.studio import Studio

TICK_SECONDS = 0.7


@dataclass(frozen=True)
class Shown:
    """What this page shows, so that only changes are sent; kept per page by Gradio."""

    html: str = ""
    infotext: str = ""
    is_busy: bool = False
    is_running: bool = False
    job_id: int | None = None
    is_repeating: bool = False
    picture: int | None = None


@dataclass(frozen=True)
class Results:
    """The stage's components.

    Attributes:
        targets: A button for each place a picture can go.
        picked: Id of the picture the person chose; None follows the newest.
        wake: Pressed by the page itself, to look now.
        kinds: Of the jobs that it shows.
    """

    stage: gr.HTML
    infotext: gr.HTML
    folder: gr.Button
    save: gr.Button
    zip: gr.Button
    targets: dict[str, gr.Button]
    timer: gr.Timer
    shown: gr.State
    picked: gr.State
    wake: gr.Button
    interrupt: gr.Button
    skip: gr.Button
    forever: gr.Checkbox
    kinds: tuple[str, ...] = PAINTING_KINDS

    def takes(self) -> list[Any]:
        """What a look needs to know."""
        return [self.shown, self.picked]

    def gives(self) -> list[Any]:
        """Everything a look may change."""
        return [
            self.stage, self.infotext, self.folder, self.save, self.zip, self.timer, self.shown,
            self.interrupt, self.skip, self.forever, *self.targets.values(),
        ]  # fmt: skip


def draw(
    interrupt: gr.Button,
    skip: gr.Button,
    forever: gr.Checkbox,
    tab: str = "txt2img",
    kinds: tuple[str, ...] = PAINTING_KINDS,
) -> Results:
    """A tab's stage, its row of buttons and the hidden parts that drive it.

    Args:
        kinds: Of the jobs that it shows.
    """
    stage = gr.HTML("", js_on_load=cards.ACTIONS_JS, elem_id=elem_id(tab, "stage"))
    with gr.Row(elem_classes="dq-acts"):
        with gr.Row(elem_classes="dq-sends"):
            targets = sending.draw_buttons(tab)
        with gr.Row(elem_classes="dq-files"):
            folder = _act("folder", tab)
            save = _act("save", tab)
            zip_button = _act("zip", tab, link_target="_blank")
    infotext = gr.HTML("", elem_id=elem_id(tab, "infotext"))
    timer = gr.Timer(TICK_SECONDS, active=False)
    shown, picked = gr.State(Shown()), gr.State(None)
    wake = gr.Button("wake", visible="hidden", elem_id=elem_id(tab, "wake"))
    return Results(
        stage, infotext, folder, save, zip_button, targets, timer, shown, picked, wake, interrupt,
        skip, forever, kinds,
    )  # fmt: skip


def _act(name: str, tab: str, **options: Any) -> gr.Button:
    return icon_button(f"dq-{name}", tab, interactive=False, **options)


def connect(parts: Results, studio: Studio, browser: gr.BrowserState) -> Any:
    """Ticks, picking a picture, stopping, and the buttons that need no other tab.

    Returns:
        Gradio's dependency of the look, for what shall follow it.
    """

    def tick(values: Values, request: gr.Request) -> dict:
        return refresh(parts, studio, values, browser, request)

    def on_act(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        deed, data = event._data["act"], event._data
        if deed == "pick":
            return {parts.picked: int(data["key"])}
        if deed == "vary":
            go_on_from(studio, int(data["key"]), values[browser], request, _variation(data["how"]))
            return {parts.picked: None}
        if deed == "cancel":
            cancel(studio, int(data["job"]), visitor_of(values[browser], request))
        elif deed in ("retry", "remedy", "empty_trash"):
            visitor = visitor_of(values[browser], request)
            if deed == "empty_trash":
                empty_trash(studio, visitor.user)
            retry(studio, int(data["job"]), visitor, str(data.get("way", "")))
        return {parts.picked: gr.skip()}  # the examples are the tab's own affair

    def stop(values: Values, request: gr.Request) -> None:
        studio.control.stop_current(client_name(values[browser], request), parts.kinds)

    def skip(values: Values) -> None:
        if values[parts.shown].job_id is not None:
            studio.control.skip(values[parts.shown].job_id)

    def change_forever(values: Values, request: gr.Request) -> None:
        if not values[parts.forever]:
            studio.jobs.stop_repeating_for(client_name(values[browser], request))

    looks = partial(gr.on, [parts.timer.tick, parts.wake.click])
    looked = wire(
        looks,
        tick,
        [browser, *parts.takes()],
        parts.gives(),
        is_quiet=True,
        trigger_mode="always_last",
        for_guests=True,
    )
    # Every press counts, also while the answer to the last one is under way.
    wake = parts.wake
    wire_then_press(wake, parts.stage.act, on_act, [browser], [parts.picked], for_guests=True)
    wire_then_press(wake, parts.interrupt.click, stop, [browser], for_guests=True)
    wire_then_press(wake, parts.skip.click, skip, [parts.shown], for_guests=True)
    wire_then_press(
        wake, parts.forever.input, change_forever, [browser, parts.forever], for_guests=True
    )
    return looked


def cancel(studio: Studio, job_id: int, visitor: Visitor) -> None:
    """End a job.

    Raises:
        JobError: There is none of that number, or another login asked for it.
    """
    job = studio.jobs.get(job_id)
    if not visitor.may_change(job):
        raise JobError("This job belongs to another person.", "Only they can change it.")
    studio.control.cancel(job_id)


def empty_trash(studio: Studio, user: str) -> None:
    """Delete for good what lies in the trash and this person may delete."""
    pictures = studio.gallery.pictures
    for problem in pictures.purge(pictures.ids("", user=user, place="trash").tolist(), user):
        show_error(problem)


def retry(studio: Studio, job_id: int, visitor: Visitor, way: str = "") -> None:
    """Ask for an ended job once more, exactly as it was.

    Args:
        way: Instead of exactly: one of ``remedies.offered``.
    Raises:
        JobError: There is none of that number, or another person asked for it.
    """
    job = studio.jobs.get(job_id)
    if not visitor.owns(job.client, job.user):
        raise JobError("This job belongs to another person.", "Write a job of your own.")
    studio.control.repeat(job_id, client=visitor.client, way=way)


def go_on_from(
    studio: Studio,
    picture_id: int,
    browser_id: str,
    request: gr.Request,
    make: Callable[[Parent, str], AnyParams],
) -> None:
    """Ask for what comes next from one of this browser's pictures.

    Args:
        make: From the picture and who asks to the request.
    Raises:
        WebUIError: The picture is not there any more, or nothing can be made of it.
    """
    visitor = visitor_of(browser_id, request)
    picture = studio.library.get(picture_id)
    if not visitor.owns(picture.client, picture.user):
        raise LibraryError(say("no_picture", language_of(request)))
    studio.submit(make(parent_of(studio, picture), visitor.user), client=visitor.client)


def _variation(how: str) -> Callable[[Parent, str], AnyParams]:
    strength = {"subtle": SUBTLE, "strong": STRONG}[how]

    def make(parent: Parent, user: str) -> AnyParams:
        count = FOUR if parent.params.image_count == FOUR else 1
        return vary(parent, strength, count=count, user=user)

    return make


def refresh(
    parts: Results,
    studio: Studio,
    values: Values,
    browser: gr.BrowserState,
    request: gr.Request,
    *,
    sends_all: bool = False,
) -> dict[Any, Any]:
    """Look at this browser's jobs and send what changed since the last look.

    Args:
        sends_all: Also send what did not change. For a stage that comes into sight: a look that
            was under way when it was put to rest has reported what the page did not follow.
    """
    client = client_name(values[browser], request)
    now = look(studio, client, values[parts.picked], language_of(request), parts.kinds)
    now = replace(now, html=studio.guests.told(user_of(request), now.html))
    return changes(parts, None if sends_all else values[parts.shown], now)


def rest(parts: Results) -> dict[Any, Any]:
    """Look no more until the next ``refresh``: the stage is out of sight."""
    return {parts.timer: gr.Timer(active=False)}


def changes(parts: Results, before: Shown | None, now: Look) -> dict[Any, Any]:
    """The components whose content differs from what the page shows; all of them when that is
    not known."""
    key = now.picture.id if now.picture else None
    after = Shown(
        now.html, now.infotext, now.is_busy, now.is_running, now.job_id, now.is_repeating, key
    )
    if after == before:
        return {parts.shown: gr.skip()}

    def differs(name: str) -> bool:
        return before is None or getattr(before, name) != getattr(after, name)

    update: dict[Any, Any] = {parts.shown: after}
    if differs("html"):
        update[parts.stage] = gr.update(value=after.html)
    if differs("infotext"):
        update[parts.infotext] = gr.update(value=after.infotext)
    if differs("is_busy"):
        update[parts.timer] = gr.Timer(active=after.is_busy)
        update[parts.interrupt] = gr.update(interactive=after.is_busy)
    if differs("is_running"):
        update[parts.skip] = gr.update(interactive=after.is_running)
    if differs("is_repeating"):
        update[parts.forever] = gr.update(value=after.is_repeating)
    if differs("picture"):
        has_picture = after.picture is not None
        for button in (parts.folder, parts.save, *parts.targets.values()):
            update[button] = gr.update(interactive=has_picture)
        link = f"ui/zip/{now.picture.job_id}" if now.picture else None
        update[parts.zip] = gr.update(interactive=has_picture, link=link)
    return update


def shown_picture(studio: Studio, shown: Shown, language: str) -> SavedPicture:
    """The picture on the stage.

    Raises:
        LibraryError: There is none.
    """
    if shown.picture is None:
        raise LibraryError(say("no_picture", language))
    return studio.library.get(shown.picture)
