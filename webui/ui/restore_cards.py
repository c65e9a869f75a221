"""HTML of the Restore tab: what will be done, what is missing for it, the faces that were found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from webui.library.faces import FoundFace
from webui.ui import cards
from webui.ui.cards import esc
from webui.ui.restore_videos import needs_card
from webui.ui.texts import say

if TYPE_CHECKING:
    from webui.checkpoints.known_weights import KnownWeights
    from webui.ui.restore_form import Plan

STEPS_OF_CHANGE = ((0.12, "face_same"), (0.3, "face_little"), (0.55, "face_much"))
"""Up to which distance a face counts as how much changed; 0 = same, 1 = unrelated."""


def plan_view(plan: Plan, models: Path, language: str) -> str:
    """One line about what will be done, and a card about what is missing for it.

    Args:
        models: The folder that weights belong below.
    """
    facts = []
    if plan.faces:
        facts.append(say("plan_faces", language, names=" + ".join(plan.faces)))
    else:
        facts.append(say("plan_faces_stay", language))
    if plan.upscalers:
        facts.append(say("plan_upscaler", language, name=" + ".join(plan.upscalers)))
    else:
        facts.append(say("plan_picture_stays", language))
    line = f'<p class="dq-soft dq-plan">{esc(" · ".join(facts))}</p>'
    return line + needs_card(plan.programs, language) + _needs(plan, models, language)


def _needs(plan: Plan, models: Path, language: str) -> str:
    wanted = (*plan.missing, *plan.better)
    if not wanted:
        return ""
    title = say("needs_title" if plan.missing else "needs_better", language)
    rows = "".join(_weights(known, models, plan, language) for known in wanted)
    return f'<div class="dq-card dq-needs" role="status"><h3>{esc(title)}</h3>{rows}</div>'


def _weights(known: KnownWeights, models: Path, plan: Plan, language: str) -> str:
    """A file that is missing: what it is for, its licence, and how it gets here."""
    what = say(f"kind_{known.kind}", language)
    licence = say("needs_licence", language, licence=known.licence)
    head = f"<p><b>{esc(known.name)}</b> · {esc(what)} · {esc(licence)}</p>"
    if known in plan.better:
        head += f"<p>{esc(say('needs_lanczos', language, name=known.name))}</p>"
    if known.wheel:
        return head + f"<p>{esc(say('needs_wheel', language))}</p>"
    size = f" ({known.size_bytes / 1e6:.0f} MB)" if known.size_bytes else ""
    links = "".join(
        f'<a class="dq-path" href="{esc(url)}" target="_blank" rel="noreferrer">{esc(url)}</a>'
        for url in known.urls[:1]
    )
    return (
        f"{head}{_download(known, plan, language)}"
        f"<p>{esc(say('needs_by_hand', language))}</p>{links}"
        f'<code class="dq-path">{esc(models / known.folder / known.file)}{esc(size)}</code>'
    )


def _download(known: KnownWeights, plan: Plan, language: str) -> str:
    """A button that downloads a file, or that it is under way."""
    if not known.urls:
        return ""
    if known.name in plan.downloading:
        return f"<p>{esc(say('needs_downloading', language))}</p>"
    text = say("needs_download", language)
    button = cards.action("download", text, label=f"{text}: {known.name}", name=known.name)
    return f"<p>{button}</p>"


def faces(found: Sequence[FoundFace], job_id: int, image: int, language: str) -> str:
    """The faces of one photograph, each with its crops, how much it changed, and a tick box.

    Args:
        found: Those of the whole job. image: Number of the photograph in it.
    """
    here = [face for face in found if face.image == image]
    if not here:
        return ""
    rows = "".join(_face(face, language) for face in here)
    again = cards.action(
        "again", say("faces_again", language), classes="dq-again", job=job_id, image=image
    )
    return (
        f'<section class="dq-faces" aria-label="{esc(say("faces_title", language))}">'
        f'{cards.heading(say("faces_title", language))}<p class="dq-soft">'
        f"{esc(say('faces_hint', language))}</p><ul>{rows}</ul>{again}</section>"
    )


def _face(face: FoundFace, language: str) -> str:
    number = face.number + 1
    pictures = "".join(
        f'<img src="ui/input/{esc(key)}" width="96" height="96" loading="lazy" '
        f'alt="{esc(say(text, language, number=number))}">'
        for key, text in ((face.before, "face_before"), (face.after, "face_after"))
    )
    name = say("face_number", language, number=number)
    words = say(change_of(face.distance), language)
    told = say("face_distance", language, words=words, distance=f"{face.distance:.2f}")
    ticked = " checked" if face.is_pasted else ""
    return (
        f'<li class="dq-face">{pictures}<div><b>{esc(name)}</b>'
        f'<span class="dq-soft">{esc(told)}</span><label><input type="checkbox" '
        f'data-face="{face.number}"{ticked}> {esc(say("face_keep", language))}</label></div></li>'
    )


def change_of(distance: float) -> str:
    """Key of the words for how much a face changed.

    Args:
        distance: As ``FoundFace.distance``, 0–1.
    """
    return next((text for most, text in STEPS_OF_CHANGE if distance <= most), "face_other")
