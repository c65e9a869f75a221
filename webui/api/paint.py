"""What both painting routes do: read the request, put it into the queue, wait, answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from webui.api.a1111_scripts import take_scripts
from webui.api.answer import answer_of, plot_answer
from webui.api.errors import SafeJSONResponse
from webui.api.infotext_fields import fill_from_infotext
from webui.api.plot_scripts import take_plan
from webui.api.schemas import SomeBody
from webui.api.waiting import WaitingRoom
from webui.api.wishes import Wish, in_client_words, read_wish
from webui.errors import ParamsError
from webui.jobs.store import Job
from webui.services.resolve import AnyRequest
from webui.studio import Studio


async def paint(
    studio: Studio,
    waiting_room: WaitingRoom,
    body: SomeBody,
    make_request: Callable[[Studio, SomeBody, dict[str, Any]], AnyRequest],
    user: str,
    more_notes: Callable[[SomeBody], list[str]] = lambda _: [],
) -> Response:
    """Paint what a client asked for; answers when it is done.

    Args:
        make_request: (studio, body, overrides) to our request.
        user: The guest who asks; '' = the owner.
        more_notes: What the body, with what its infotext filled in, asks for and this kind of
            request cannot follow; listed behind the notes of all.
    Raises:
        WebUIError, ApiError: It cannot be done, or it failed.
    """
    body, wish, job = await run_in_threadpool(_begin, studio, body, make_request, user)
    notes = [*wish.notes, *more_notes(body)]
    make_answer = plot_answer if job.kind == "plot" else answer_of
    return await waiting_room.answer(
        studio,
        job,
        lambda done: SafeJSONResponse(make_answer(studio, done, wish.params, body, notes)),
    )


def _begin(
    studio: Studio,
    body: SomeBody,
    make_request: Callable[[Studio, SomeBody, dict[str, Any]], AnyRequest],
    user: str,
) -> tuple[SomeBody, Wish, Job]:
    """Read a request and put it into the queue.

    Returns:
        The body with what its infotext filled in, what it means, and the job.
    Raises:
        WebUIError, ApiError: It cannot be done; nothing was changed.
    """
    body, extra_overrides = fill_from_infotext(studio, body)
    body, scripts = take_scripts(studio, body)
    plain, plan = take_plan(studio.plots.plans, body, user)
    wish = read_wish(studio, plain, make_request, extra_overrides, user, scripts)
    who = {"origin": "api", "task_id": body.force_task_id or None}
    try:
        job = studio.plots.submit(wish.request, plan, **who) if plan else None
    except ParamsError as err:
        raise in_client_words(err) from err
    job = job or studio.submit(wish.params, **who)
    for key, value in wish.options_to_keep.items():
        studio.options.set(key, value)
    return body, wish, job
