"""What every change of the Train tab changes: the plan, the options as a file, the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import DatasetError, ParamsError
from webui.services.training.trainings import device_of, family_of, foresee
from webui.training.checks import find_problems
from webui.ui import cards, train_view
from webui.ui.said import error_in_language, in_language
from webui.ui.session import user_of
from webui.ui.texts import language_of, say
from webui.ui.train_form import (
    Choice,
    checkpoint_of,
    choice,
    class_choices,
    read_changes,
    sets_of,
    toml_of,
)
from webui.ui.train_parts import Train

if TYPE_CHECKING:
    from webui.studio import Studio


def foretell(
    parts: Train, studio: Studio, form: Mapping[str, Any], user: str, language: str
) -> dict[Any, Any]:
    """Steps, time, memory and what is in the way; the options as a file."""
    try:
        chosen = choice(form, studio, sets_of(studio, user))
    except ParamsError as err:
        return {
            parts.plan: train_view.problem_view([error_in_language(err, language)], language),
            parts.toml: gr.skip(),
            parts.toml_link: gr.skip(),
        }
    text = toml_of(chosen)
    link = train_view.toml_link(text, chosen.options.output_name, language)
    return {
        parts.plan: plan_html(studio, form, chosen, language),
        parts.toml: text,
        parts.toml_link: link,
    }


def plan_html(studio: Studio, form: Mapping[str, Any], chosen: Choice, language: str) -> str:
    """What a training will come to, and what is taken another way than it was written."""
    options = chosen.options
    family = family_of(studio, checkpoint_of(form, studio))
    found = find_problems(options, family=family, device=device_of(studio))
    errors = [in_language(problem.message, language) for problem in found if problem.is_error]
    told = [*chosen.notices, *(problem.message for problem in found if not problem.is_error)]
    warnings = [in_language(sentence, language) for sentence in told]
    if not (options.train_data_dir or options.in_json or options.dataset_config):
        return train_view.problem_view(errors, language) if errors else ""
    try:
        foresight = foresee(studio, options)
    except (ParamsError, DatasetError) as err:
        return train_view.problem_view([*errors, error_in_language(err, language)], language)
    return train_view.plan_view(foresight, errors, warnings, language)


def show_pictures(
    parts: Train, studio: Studio, form: Mapping[str, Any], request: gr.Request
) -> dict[Any, Any]:
    """The set with its words, and what it comes to; what an earlier look found is gone."""
    user, language = user_of(request), language_of(request)
    return {
        parts.pictures: pictures_html(studio, form["set_name"], user, language),
        parts.report: "",
        **foretell(parts, studio, form, user, language),
    }


def class_field(
    names: Sequence[str], chosen: str | None, now: str | None, language: str
) -> dict[str, Any]:
    """The field for class pictures: the other sets; unseen while there are none."""
    others = class_choices(names, chosen)
    nothing = (say("train_class_none", language), "")
    return gr.update(
        choices=[nothing, *others], value=now if now in others else "", visible=bool(others)
    )


def pictures_html(studio: Studio, name: str | None, user: str, language: str) -> str:
    sets = sets_of(studio, user)
    if not name or name not in sets.names():
        return cards.note(say("train_set_none", language))
    return train_view.set_view(name, sets.pictures(name), None, language)


def options_html(studio: Studio, form: Mapping[str, Any], user: str, language: str) -> str:
    try:
        chosen = choice(form, studio, sets_of(studio, user))
    except ParamsError as err:
        return train_view.problem_view([error_in_language(err, language)], language)
    problems = [problem.field for problem in find_problems(chosen.options)]
    return train_view.options_view(
        chosen.options, read_changes(form["changes"]), problems, language
    )
