"""HTML of getting weights: the list of well-known ones, files to choose from, downloads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from webui.checkpoints.download.fetch import UnknownKindError
from webui.checkpoints.download.hubs import Offer
from webui.checkpoints.download.known import places_of
from webui.checkpoints.download.naming import KINDS
from webui.checkpoints.download.telling import in_bytes
from webui.checkpoints.known_weights import KNOWN, KnownWeights
from webui.services.downloads import Download
from webui.ui import cards
from webui.ui.cards import action, esc
from webui.ui.said import failure_in_language
from webui.ui.texts import ENGLISH, say

if TYPE_CHECKING:
    from webui.studio import Studio

OFFERS_SHOWN = 60
ORDER = (
    "checkpoint", "vae", "lora", "embedding", "upscaler", "face", "face-detector", "vae-approx",
)  # fmt: skip
"""What most people look for comes first."""
USABLE_NOW = ("checkpoint", "vae")
"""Kinds that can be chosen for painting right away."""


# Well-known weights


def catalog(studio: Studio, wanted: str, kind: str, language: str) -> str:
    """The well-known weights of a kind whose name, file or licence holds every word.

    Args:
        kind: '' = all.
    """
    words = wanted.casefold().split()
    found = [
        known
        for known in KNOWN
        if kind in ("", known.kind) and all(word in _text(known) for word in words)
    ]
    if not found:
        return cards.note(say("get_found_none", language))
    found.sort(key=lambda known: ORDER.index(known.kind))
    active = {one.known for one in studio.downloads.all() if one.is_active}
    rows = "".join(_known_row(known, studio, active, language) for known in found)
    return f'<ul class="dq-getlist">{rows}</ul>'


def _text(known: KnownWeights) -> str:
    return f"{known.name} {known.file} {known.licence} {known.family}".casefold()


def _licence(known: KnownWeights, language: str) -> str:
    """A licence by its name; what is only described is described in the page's language."""
    told = known.licence
    for key in ("licence_not_stated", "licence_conditions"):
        told = told.replace(say(key, ENGLISH), say(key, language))
    return told


def _known_row(known: KnownWeights, studio: Studio, active: Collection[str], language: str) -> str:
    facts = [
        say(f"weights_{known.kind}", language),
        in_bytes(known.size_bytes) if known.size_bytes else say("get_size_unknown", language),
        _licence(known, language),
    ]
    sure = (
        say("get_hash_known", language, digits=known.sha256[:10])
        if known.sha256
        else say("get_hash_unknown", language)
    )
    hosts = dict.fromkeys(urlsplit(url).hostname or "" for url in known.urls)
    if known.wheel:
        hosts = {"pip": None, **hosts}
    sources = say("get_from", language, hosts=", ".join(hosts)) if hosts else ""
    warns = " dq-warn" if known.is_non_commercial else ""
    return (
        f'<li class="dq-getrow"><div><b>{esc(known.name)}</b>'
        f'<span class="dq-soft{warns}">{esc(" · ".join(facts))}</span>'
        f'<span class="dq-soft">{esc(" · ".join(filter(None, (sure, sources))))}</span></div>'
        f"{_known_state(known, studio, active, language)}</li>"
    )


def _known_state(
    known: KnownWeights, studio: Studio, active: Collection[str], language: str
) -> str:
    if any(path.exists() for path in places_of(known, studio.settings.folders)):
        return f'<span class="dq-badge dq-done">{esc(say("get_is_here", language))}</span>'
    if known.name in active:
        return f'<span class="dq-badge">{esc(say("get_stage_running", language))}</span>'
    if not (known.urls or known.wheel):
        return f'<span class="dq-badge">{esc(say("get_by_hand", language))}</span>'
    label = f"{say('get_go', language)}: {known.name}"
    return action("get", say("get_go", language), label=label, name=known.name)


# Files behind a link


def choices(found: Sequence[Offer], language: str) -> str:
    """The files of an address, each with a button."""
    if not found:
        return ""
    rows = "".join(
        f'<li class="dq-getrow"><div><b>{esc(offer.label)}</b>'
        f'<span class="dq-soft">{esc(_offer_facts(offer, language))}</span></div>'
        f"{action('offer', say('get_go', language), label=offer.label, number=number)}</li>"
        for number, offer in enumerate(found[:OFFERS_SHOWN])
    )
    more = len(found) - OFFERS_SHOWN
    rest = f"<p>{esc(say('get_more_files', language, count=more))}</p>" if more > 0 else ""
    title = say("get_choose", language, count=len(found))
    close = action("close", "×", label=say("get_close", language), classes="dq-close")
    return (
        f'<div class="dq-card dq-getoffers"><h3>{esc(title)}</h3>{close}'
        f'<ul class="dq-getlist">{rows}</ul>{rest}</div>'
    )


def _offer_facts(offer: Offer, language: str) -> str:
    wanted = offer.wanted
    facts = [say(f"weights_{wanted.kind}", language)] if wanted.kind else []
    if wanted.size_bytes:
        facts.append(in_bytes(wanted.size_bytes))
    if wanted.parts:
        facts.append(say("get_files", language, count=len(wanted.parts)))
    if offer.notes and offer.notes.base:
        facts.append(offer.notes.base)
    return " · ".join(facts)


# Downloads


def downloads(found: Sequence[Download], language: str) -> str:
    """What is being fetched, and what was."""
    title = cards.heading(say("get_running", language))
    if not found:
        return title + cards.note(say("get_none_running", language))
    rows = "".join(_download(one, language) for one in found)
    return f'{title}<ul class="dq-getlist">{rows}</ul>'


def _download(one: Download, language: str) -> str:
    error = ""
    if one.error:
        told = " ".join(failure_in_language(one.error, language)).strip()
        error = f'<p class="dq-geterror">{esc(told)}</p>{_kinds(one, language)}'
    if one.path:
        error = f'<code class="dq-path">{esc(say("get_lies", language, path=one.path))}</code>'
    return (
        f'<li class="dq-getrow dq-{one.stage}"><div><b>{esc(one.title)}</b>'
        f'<span class="dq-soft">{esc(" · ".join(_facts(one, language)))}</span>'
        f'{_bar(one)}{error}</div><div class="dq-getdo">{_buttons(one, language)}</div></li>'
    )


def _kinds(one: Download, language: str) -> str:
    """What a file may be that does not tell it."""
    if not one.error or one.error.get("code") != UnknownKindError.code:
        return ""
    buttons = (
        action("resume", say(f"weights_{kind}", language), classes="dq-chip", id=one.id, kind=kind)
        for kind in KINDS
    )
    return f'<div class="dq-chips">{"".join(buttons)}</div>'


def _facts(one: Download, language: str) -> list[str]:
    state = one.state
    if one.stage != "running" or state is None:
        facts = [say(f"get_stage_{one.stage}", language)]
        if one.kept_bytes:
            facts.append(say("get_kept", language, amount=in_bytes(one.kept_bytes)))
        return facts
    if state.stage == "asking":
        return [say("get_asking", language)]
    facts = [_amount(state.done_bytes, state.total_bytes, language)]
    if state.stage == "checking":
        return [*facts, say("get_checking", language)]
    if state.stage == "waiting":
        facts.append(say("get_pausing", language, seconds=round(state.wait_seconds)))
    elif state.bytes_per_second:
        facts.append(say("get_speed", language, speed=in_bytes(state.bytes_per_second)))
        if state.rest_seconds is not None:
            time = cards.duration(state.rest_seconds, language)
            facts.append(say("get_rest", language, time=time))
    if state.mirror_of:
        facts.append(say("get_mirror", language, host=state.host, of=state.mirror_of))
    elif state.host:
        facts.append(say("get_host", language, host=state.host))
    return facts


def _amount(done: int, total: int | None, language: str) -> str:
    if total is None:
        return in_bytes(done)
    return say("get_amount", language, done=in_bytes(done), total=in_bytes(total))


def _bar(one: Download) -> str:
    state = one.state
    if one.stage != "running" or state is None or not state.total_bytes:
        return ""
    percent = min(100, round(100 * state.done_bytes / state.total_bytes))
    return (
        f'<div class="dq-bar" role="progressbar" aria-valuenow="{percent}" aria-valuemin="0" '
        f'aria-valuemax="100"><i style="width:{percent}%"></i></div>'
    )


def _buttons(one: Download, language: str) -> str:
    number = one.id
    if one.is_active:
        return action("stop", say("get_stop", language), id=number)
    made = []
    if one.stage == "done" and one.wanted.kind in USABLE_NOW:
        made.append(action("use", say("get_use", language), id=number))
    if one.stage in ("stopped", "interrupted"):
        made.append(action("resume", say("get_resume", language), id=number))
    if one.stage == "failed" and not _kinds(one, language):
        made.append(action("resume", say("get_again", language), id=number))
    made.append(action("forget", say("get_forget", language), id=number))
    return "".join(made)


def keys_line(sites: Collection[str], language: str) -> str:
    """Which sites there is a key for; never the key."""
    if not sites:
        return cards.note(say("get_keys_none", language))
    return cards.note(say("get_keys_there", language, sites=", ".join(sorted(sites))))
