"""How every event of the page is connected, and the one fence around every handler.

A handler takes its values by name (a dict keyed by component), and answers with a dict of
components to change. It is private: the HTTP API has its own door.

It is also where the page keeps guests out: an event that is not wired ``for_guests`` does not
exist on their page, and its handler refuses them wherever else it were reached.
"""

from __future__ import annotations

import functools
import html
import inspect
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from webui.errors import WebUIError
from webui.roles import for_guests as mark_for_guests
from webui.roles import is_for_guests, is_guest
from webui.ui.said import error_in_language, in_language
from webui.ui.session import user_of
from webui.ui.texts import language_of, say

logger = logging.getLogger(__name__)
Handler = Callable[..., Any]
Values = dict[Any, Any]
Told = Callable[[str, str], str]
"""From a user and a sentence to the sentence as that user may read it."""
_guests_told: ContextVar[Told | None] = ContextVar("guests_told", default=None)


@contextmanager
def drawing_for_guests(told: Told) -> Iterator[None]:
    """What is drawn and wired within is the guests' page.

    Args:
        told: Warnings go through it.
    """
    token = _guests_told.set(told)
    try:
        yield
    finally:
        _guests_told.reset(token)


def draws_for_guests() -> bool:
    """True while the guests' page is drawn."""
    return _guests_told.get() is not None


class _Nothing:
    """Stands for an event that was not wired."""

    def then(self, *_args: Any, **_options: Any) -> _Nothing:
        """Nothing follows it."""
        return self


def wire(
    trigger: Callable[..., Any],
    handler: Handler,
    takes: Iterable[Any] = (),
    gives: Iterable[Any] = (),
    *,
    is_quiet: bool = False,
    for_guests: bool = False,
    **options: Any,
) -> Any:
    """Connect an event to a handler behind the fence.

    Args:
        trigger: An event of a component, such as ``button.click``.
        handler: Called with a dict of values keyed by component (and what Gradio passes by
            type: Request, EventData). Returns a dict of changes, or ``gr.skip()``.
        takes: Components whose values it needs.
        gives: Components it may change.
        is_quiet: For small frequent events: a plain request instead of a place in Gradio's
            queue, so nothing is lost when a long connection breaks. Cannot show warnings.
        for_guests: Guests may do this, too.
    Returns:
        Gradio's dependency, for ``.then``.
    """
    if draws_for_guests() and not for_guests:
        return _Nothing()
    return trigger(
        fence(mark_for_guests(handler) if for_guests else handler),
        inputs=set(takes),
        outputs=list(gives),
        show_progress="hidden",
        show_progress_on=[],  # else every event tells every output in the browser where it stands
        api_visibility="private",
        concurrency_limit=None,
        queue=not is_quiet,
        **options,
    )


def wire_then_press(
    button: gr.Button,
    trigger: Callable[..., Any],
    handler: Handler,
    takes: Iterable[Any] = (),
    gives: Iterable[Any] = (),
    *,
    trigger_mode: str = "multiple",
    for_guests: bool = False,
) -> None:
    """As ``wire``; once the handler is done, a button is pressed.

    For what changes the jobs that a stage or a list shows: looking stays with one event, whose
    answers come one after another, so that an older look never replaces a newer one.
    """
    done = wire(trigger, handler, takes, gives, trigger_mode=trigger_mode, for_guests=for_guests)
    done.then(None, js=f"() => document.getElementById('{button.elem_id}').click()")


def fence(handler: Handler) -> Handler:
    """Let no failure out of a handler: known ones are shown, others logged under a short id. Let no
    guest into one that is not marked for them."""
    wants_request, told = _request_name(handler), _guests_told.get()

    @functools.wraps(handler)
    def fenced(*args: Any, **kwargs: Any) -> Any:
        try:
            if is_guest(_user_here()) and not is_for_guests(handler):
                request = LocalContext.request.get(None)
                raise WebUIError(say("owner_only", language_of(request)))
            return handler(*args, **kwargs)
        except WebUIError as err:
            said = error_in_language(err, language_of(LocalContext.request.get(None)))
            show_warning(told(_user_here(), said) if told else said)
        except Exception:
            report_id = secrets.token_hex(3)
            logger.exception("A handler of the page failed (report id %s).", report_id)
            language = language_of(_find_request(wants_request, args, kwargs))
            show_warning(say("unexpected", language, id=report_id))
        return gr.skip()

    return fenced


def _user_here() -> str:
    """Who caused the event that Gradio runs now."""
    return user_of(LocalContext.request.get(None))


def show_warning(text: str) -> None:
    """A message in the page's corner, in the browser's language where the program has said it; the
    text is never HTML."""
    language = language_of(LocalContext.request.get(None))
    said = html.escape(in_language(text, language))
    gr.Warning(said, duration=10, title=say("toast_warning", language))


def show_warnings(texts: Iterable[str]) -> None:
    """What became of several files: one message with a line each, which stays until it is closed.
    Nothing, where there is nothing to tell."""
    language = language_of(LocalContext.request.get(None))
    told = "<br>".join(html.escape(in_language(text, language)) for text in texts)
    if told:
        gr.Warning(told, duration=None, title=say("toast_warning", language))


def show_error(err: WebUIError) -> None:
    """As ``show_warning``, for a failure that a handler deals with; in the browser's language."""
    show_warning(error_in_language(err, language_of(LocalContext.request.get(None))))


def show_info(text: str) -> None:
    """As ``show_warning``, for good news."""
    language = language_of(LocalContext.request.get(None))
    gr.Info(html.escape(text), duration=4, title=say("toast_info", language))


def tell(key: str, request: gr.Request, **values: object) -> None:
    """A short good message in the browser's language."""
    show_info(say(key, language_of(request), **values))


def _request_name(handler: Handler) -> str | None:
    for name, parameter in inspect.signature(handler).parameters.items():
        if parameter.annotation in (gr.Request, "gr.Request"):
            return name
    return None


def _find_request(name: str | None, args: tuple, kwargs: dict[str, Any]) -> gr.Request | None:
    if name in kwargs:
        return kwargs[name]
    return next((arg for arg in args if isinstance(arg, gr.Request)), None)
