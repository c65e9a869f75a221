"""Handlers that A1111 scripts connect with their fields: what they do stays their own.

Gradio runs them in tasks of the server's loop, which a ``sys.exit`` in one would end, and in its
threads, which an endless loop would keep for good.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import gradio as gr
from gradio.blocks import BlockFunction
from gradio.context import LocalContext

from webui.errors import ExtensionError
from webui.extensions.a1111.fences import sentence
from webui.extensions.a1111.host import NOBODY, Host
from webui.extensions.exits import exits_refused
from webui.extensions.time_limit import TimeIsUp, limited
from webui.hookspecs import LONG_SECONDS
from webui.ui.said import error_in_language
from webui.ui.texts import language_of, say

logger = logging.getLogger(__name__)
MOMENT = "a handler of the page"


async def call_fenced(
    host: Host, event: BlockFunction, call: Callable[[BlockFunction], Awaitable[Any]]
) -> Any:
    """Have Gradio call an event's handler; one of an extension is called within the fence.

    Args:
        call: As Gradio would.
    Raises:
        gr.Error: The extension failed, was left out, or wanted to tell the person something.
    """
    owner = _owner(host, event)
    if owner == NOBODY:
        return await call(event)
    if why := host.fence.core.left_out(owner):
        raise _shown(ExtensionError(f"The extension {owner} was left out: {why}.", plugin=owner))
    try:
        with exits_refused():
            return await call(_limited(event))
    except gr.Error:
        raise
    except (SystemExit, KeyboardInterrupt, TimeIsUp) as err:
        raise _shown(_failure(owner, host.fence.report(owner, MOMENT, err))) from err
    except Exception as err:  # fence: as likely as not it is what the person typed
        logger.exception("The extension %s failed in a handler of the page", owner)
        raise _shown(_failure(owner, sentence(err))) from err


def _owner(host: Host, event: BlockFunction) -> str:
    handler = event.renderable.fn if event.renderable else event.fn
    return host.owner_of(handler) if handler else NOBODY


def _limited(event: BlockFunction) -> BlockFunction:
    """The event with a handler that is told to end when its time is up."""
    if event.fn is None:
        return event
    made = copy.copy(event)
    made.fn = limited(event.fn, LONG_SECONDS)
    return made


def _failure(owner: str, told: str) -> ExtensionError:
    return ExtensionError(f"The extension {owner} failed: {told}", plugin=owner)


def _shown(err: ExtensionError) -> gr.Error:
    language = language_of(LocalContext.request.get(None))
    told = error_in_language(err, language)
    return gr.Error(told, print_exception=False, title=say("toast_error", language))
