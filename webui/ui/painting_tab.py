"""What the painting tabs share: drawing and wiring of prompts' neighbours, size, seed and buttons.

Every tab draws these parts under its own element ids (``elem_id``), keeps its own draft and shows
its own stage; the rules are the same everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import CheckpointNotFoundError
from webui.roles import GUEST_MARK
from webui.samplers.names import SAMPLERS, SCHEDULES
from webui.services.extensions.scripts import A1111
from webui.services.resolve import AnyRequest
from webui.ui import (
    cards,
    cost,
    extra_networks,
    kit,
    plots,
    prompt_box,
    quicksettings,
    results,
    script_fields,
)
from webui.ui.painting_form import ASPECTS, NO_SCRIPT, PaintingForm, aspect_size, corrections
from webui.ui.pasting import Pasted
from webui.ui.prompt_box import PromptBox, StyleRow, icon_button
from webui.ui.quicksettings import Quicksettings
from webui.ui.results import Results
from webui.ui.session import client_name
from webui.ui.tab_ids import elem_id
from webui.ui.texts import label, language_of, named, say
from webui.ui.wiring import (
    Values,
    draws_for_guests,
    show_error,
    show_warning,
    tell,
    wire,
    wire_then_press,
)

if TYPE_CHECKING:
    from webui.studio import Studio

MakeWishes = Callable[[dict[str, Any], Values, gr.Request], Sequence[AnyRequest]]
"""From the form's values (and everything else that was taken) to what is to be painted."""


@dataclass(frozen=True)
class Buttons:
    """What can be pressed beside the fields."""

    generate: gr.Button
    interrupt: gr.Button
    skip: gr.Button
    forever: gr.Checkbox
    four: gr.Checkbox
    paste: gr.Button
    clear: gr.Button
    swap: gr.Button
    aspects: gr.HTML
    seed_random: gr.Button
    seed_reuse: gr.Button
    autosave: gr.Button


@dataclass(frozen=True)
class PaintingTab:
    """A painting tab's name and components. ``auto_size`` is the size the page gave, until a person
    chooses another; ``is_restored`` guards the draft against being saved before it was read."""

    tab: str
    form: PaintingForm
    prompts: PromptBox
    style_row: StyleRow
    buttons: Buttons
    extra_panel: gr.Column
    refiner_panel: gr.Column
    kit: gr.HTML
    cost: gr.HTML
    networks: gr.HTML
    results: Results
    auto_size: gr.State
    is_restored: gr.State


@dataclass(frozen=True)
class FieldMaker:
    """Draws fields under a tab's ids, with its defaults and the texts of their names."""

    tab: str
    defaults: Mapping[str, Any]

    def id(self, name: str) -> str:
        """A field's element id."""
        return elem_id(self.tab, name.replace("_", "-"))

    def slider(
        self, name: str, low: float, high: float, step: float, text: str = "", **options: Any
    ) -> gr.Slider:
        """A number with a slider."""
        options.setdefault("min_width", 160)
        return gr.Slider(
            low, high, value=self.defaults[name], step=step, label=label(text or name), buttons=[],
            elem_id=self.id(name), **options,
        )  # fmt: skip

    def text(self, name: str, text: str = "", **options: Any) -> gr.Textbox:
        """A line or box of text."""
        return gr.Textbox(
            self.defaults[name], label=label(text or name), elem_id=self.id(name), **options
        )

    def menu(
        self, name: str, choices: Sequence[Any], text: str = "", **options: Any
    ) -> gr.Dropdown:
        """One of several."""
        options.setdefault("min_width", 130)
        return gr.Dropdown(
            list(choices), value=self.defaults[name], label=label(text or name),
            elem_id=self.id(name), **options,
        )  # fmt: skip

    def radio(self, name: str, choices: Sequence[Any], text: str = "", **options: Any) -> gr.Radio:
        """One of few, all in sight."""
        return gr.Radio(
            list(choices), value=self.defaults[name], label=label(text or name),
            elem_id=self.id(name), **options,
        )  # fmt: skip

    def check(self, name: str, text: str = "", **options: Any) -> gr.Checkbox:
        """A switch."""
        options.setdefault("min_width", 80)
        return gr.Checkbox(
            self.defaults[name], label=label(text or name), elem_id=self.id(name),
            container=False, **options,
        )  # fmt: skip


@dataclass(frozen=True)
class Ask:
    """The first of a tab's three areas: what is asked.

    Attributes:
        buttons: Those of ``Buttons`` that lie here, by name.
        networks: The sub-tabs with cards of models, below it.
    """

    tab: str
    prompts: PromptBox
    buttons: dict[str, Any]
    style_row: StyleRow
    overrides: gr.Dropdown
    combinatorial: gr.Checkbox
    kit: gr.HTML
    cost: gr.HTML
    networks: gr.HTML

    @property
    def fields(self) -> dict[str, Any]:
        """The form's fields that lie here, by name."""
        return {
            "prompt": self.prompts.prompt, "negative_prompt": self.prompts.negative_prompt,
            "styles": self.style_row.styles, "overrides": self.overrides,
            "combinatorial": self.combinatorial,
        }  # fmt: skip


def draw_ask(tab: str, studio: Studio) -> Ask:
    """Prompts, what can be pressed below them, styles, chips of settings."""
    with gr.Column(elem_classes="dq-ask", min_width=0):
        prompts = prompt_box.draw_prompts(tab)
        buttons = _draw_actions(tab)
        cost_line = cost.draw(tab)
        combinatorial = buttons.pop("combinatorial")
        row = kit.draw(tab)
        style_row = prompt_box.draw_styles(list(studio.styles.by_name()), tab)
        overrides = _draw_overrides(tab)
    return Ask(
        tab,
        prompts,
        buttons,
        style_row,
        overrides,
        combinatorial,
        row,
        cost_line,
        extra_networks.draw(tab),
    )


def draw_out(ask: Ask) -> Results:
    """The last area: what came out."""
    with gr.Column(elem_classes="dq-out", min_width=0):
        buttons = ask.buttons
        return results.draw(buttons["interrupt"], buttons["skip"], buttons["forever"], ask.tab)


def _draw_actions(tab: str) -> dict[str, Any]:
    """Generate, Interrupt, Skip, and the small row below."""
    with gr.Row(elem_classes="dq-actions"):
        generate = gr.Button(
            label("generate"), variant="primary", elem_id=elem_id(tab, "generate"), scale=6,
            min_width=120,
        )  # fmt: skip
        interrupt = gr.Button(
            label("interrupt"), variant="stop", interactive=False,
            elem_id=elem_id(tab, "interrupt"), scale=2, min_width=70,
        )  # fmt: skip
        skip = gr.Button(
            label("skip"), interactive=False, elem_id=elem_id(tab, "skip"), scale=2, min_width=60
        )
    with gr.Row(elem_classes="dq-tools"):
        forever = gr.Checkbox(
            False, label=label("forever"), elem_id=elem_id(tab, "forever"), container=False,
            min_width=120, visible=not draws_for_guests(),
        )  # fmt: skip
        four = gr.Checkbox(
            False, label=label("four"), elem_id=elem_id(tab, "four"), container=False,
            min_width=60,
        )  # fmt: skip
        combinatorial = gr.Checkbox(
            False, label=label("combinatorial"), elem_id=elem_id(tab, "combinatorial"),
            container=False, elem_classes="dq-combine", min_width=120,
        )  # fmt: skip
        paste = icon_button("dq-paste", tab)
        clear = icon_button("dq-clear", tab)
    return {
        "generate": generate, "interrupt": interrupt, "skip": skip, "forever": forever,
        "four": four,
        "paste": paste, "clear": clear, "combinatorial": combinatorial,
    }  # fmt: skip


def _draw_overrides(tab: str) -> gr.Dropdown:
    """Chips of settings that a pasted recipe brought along; hidden while there are none."""
    return gr.Dropdown(
        [], value=[], multiselect=True, allow_custom_value=True, visible=False,
        label=label("overrides"), info=label("overrides_hint"), elem_id=elem_id(tab, "overrides"),
    )  # fmt: skip


def draw_sampling(fields: FieldMaker) -> dict[str, Any]:
    """Sampler, schedule, steps."""
    with gr.Row():
        sampler = fields.menu("sampler", [info.name for info in SAMPLERS], scale=1)
        schedule = fields.menu("schedule", named(info.label for info in SCHEDULES), scale=1)
        steps = fields.slider("steps", 1, 150, 1, scale=2, min_width=220)
    return {"sampler": sampler, "schedule": schedule, "steps": steps}


def draw_size(fields: FieldMaker) -> tuple[dict[str, Any], gr.Button, gr.HTML]:
    """Width, height, batches; the swap button and the row of aspects."""
    with gr.Row(elem_classes="dq-size"):
        with gr.Column(scale=5, min_width=180):
            width = fields.slider("width", 64, 2048, 8)
            height = fields.slider("height", 64, 2048, 8)
        swap = icon_button("dq-swap", fields.tab)
        with gr.Column(scale=4, min_width=160):
            batch_count = fields.slider("batch_count", 1, 100, 1)
            batch_size = fields.slider("batch_size", 1, 8, 1)
    chips = "".join(
        cards.action("aspect", name, classes="dq-chip", aspect=name) for name, _, _ in ASPECTS
    )
    aspects = gr.HTML(
        f'<div class="dq-chips dq-aspects">{chips}</div>', js_on_load=cards.ACTIONS_JS,
        elem_id=fields.id("aspects"),
    )  # fmt: skip
    drawn = {
        "width": width,
        "height": height,
        "batch_count": batch_count,
        "batch_size": batch_size,
    }
    return drawn, swap, aspects


def draw_seed(fields: FieldMaker) -> tuple[dict[str, Any], dict[str, Any], gr.Column]:
    """CFG scale, seed with its buttons, and the panel of the variation seed."""
    with gr.Row():
        cfg_scale = fields.slider("cfg_scale", 1, 30, 0.5, scale=3)
        with gr.Row(elem_classes="dq-tight dq-seedrow"):
            seed = fields.text("seed", max_lines=1, min_width=90, scale=4)
            dice = icon_button("dq-seed-random", fields.tab)
            reuse = icon_button("dq-seed-reuse", fields.tab)
    with gr.Row(elem_classes="dq-checks"):
        has_extra = gr.Checkbox(
            False, label=label("seed_extra"), elem_id=fields.id("seed-extra"), container=False,
            min_width=80,
        )  # fmt: skip
        tiling = fields.check("tiling")
    with gr.Column(visible=False, elem_classes="dq-panel", min_width=0) as panel:
        with gr.Row():
            subseed = fields.text("subseed", max_lines=1, min_width=110)
            strength = fields.slider("subseed_strength", 0, 1, 0.01)
        with gr.Row():
            resize_w = fields.slider("seed_resize_from_w", 0, 2048, 8)
            resize_h = fields.slider("seed_resize_from_h", 0, 2048, 8)
    drawn = {
        "cfg_scale": cfg_scale, "seed": seed, "has_extra": has_extra, "tiling": tiling,
        "subseed": subseed, "subseed_strength": strength, "seed_resize_from_w": resize_w,
        "seed_resize_from_h": resize_h,
    }  # fmt: skip
    return drawn, {"seed_random": dice, "seed_reuse": reuse}, panel


def draw_refiner(fields: FieldMaker, studio: Studio) -> tuple[dict[str, Any], gr.Column]:
    """A second checkpoint for the last part of the schedule; its panel opens with its switch."""
    with gr.Column(elem_classes="dq-refiner"):
        with gr.Row(elem_classes="dq-checks"):
            has_refiner = gr.Checkbox(
                False, label=label("refiner"), elem_id=fields.id("refiner"), container=False,
                min_width=180,
            )  # fmt: skip
        with (
            gr.Column(visible=False, elem_classes="dq-panel", min_width=0) as panel,
            gr.Row(),
        ):
            checkpoint = fields.menu(
                "refiner_checkpoint", quicksettings.checkpoint_titles(studio), min_width=180,
                allow_custom_value=True,
            )  # fmt: skip
            switch_at = fields.slider(
                "refiner_switch_at", 0, 1, 0.01, info=label("refiner_switch_info")
            )
    drawn = {
        "has_refiner": has_refiner,
        "refiner_checkpoint": checkpoint,
        "refiner_switch_at": switch_at,
    }
    return drawn, panel


def draw_tiles(fields: FieldMaker) -> dict[str, Any]:
    """Painting in overlapping tiles, for sizes the checkpoint was not trained for."""
    with gr.Accordion(
        label("tiles"), open=False, elem_id=fields.id("tiles"), elem_classes="dq-fold"
    ):
        has_tiles = fields.check("has_tiles")
        with gr.Row():
            method = fields.menu(
                "tile_method", ["Mixture of Diffusers", "MultiDiffusion"], min_width=190
            )
            overlap = fields.slider("tile_overlap", 0, 512, 8)
        with gr.Row():
            width = fields.slider("tile_width", 64, 2048, 8)
            height = fields.slider("tile_height", 64, 2048, 8)
        batch = fields.slider("tile_batch", 1, 8, 1)
    return {
        "has_tiles": has_tiles, "tile_method": method, "tile_width": width, "tile_height": height,
        "tile_overlap": overlap, "tile_batch": batch,
    }  # fmt: skip


def draw_script(fields: FieldMaker, studio: Studio, choices: Sequence[Any] = ()) -> gr.Dropdown:
    """The menu of scripts: none, a tab's own, and plans, which make many pictures."""
    plans = studio.plots.plans
    plots.add_texts(plans)
    user = GUEST_MARK if draws_for_guests() else ""
    entries = plots.entries(plans.all(fields.tab, user), fields.tab)
    return fields.menu("script", [(label("script_none"), NO_SCRIPT), *choices, *entries])


def connect_script(form: PaintingForm, columns: Mapping[str, gr.Column], studio: Studio) -> None:
    """The chosen script's panel is in sight; plans share one."""

    def show(values: Values) -> dict:
        script = values[form.script] or NO_SCRIPT
        plan = plots.chosen(script, values[form.plot], studio.plots.plans)
        shown = script if plan is None else plots.PANEL
        return {
            **{column: gr.update(visible=name == shown) for name, column in columns.items()},
            form.plot: gr.skip() if plan is None else plan,
        }

    takes, gives = [form.script, form.plot], [*columns.values(), form.plot]
    wire(form.script.change, show, takes, gives, is_quiet=True, for_guests=True)
    if not draws_for_guests():
        _connect_plans(form, studio)


def _connect_plans(form: PaintingForm, studio: Studio) -> None:
    """The menu of scripts follows extensions that come and go: assets/plots.js presses the hidden
    button."""
    again = gr.Button("plans", visible="hidden", elem_classes="dq-plans-again")

    def renew(_values: Values, request: gr.Request) -> dict:
        menus = quicksettings.present_menus([form], studio, language_of(request))
        return {form.script: menus[form.script]}

    wire(again.click, renew, [], [form.script], is_quiet=True)


def draw_autosave(tab: str) -> gr.Button:
    """The hidden button page.js presses a moment after a change."""
    return gr.Button("save draft", visible="hidden", elem_id=elem_id(tab, "autosave"))


def connect(parts: PaintingTab, studio: Studio, browser: gr.BrowserState) -> None:
    """Wire what needs nothing of the tab's own: stage, size, seed, panel, prompts, styles."""
    results.connect(parts.results, studio, browser)
    _connect_size(parts, studio)
    _connect_four(parts)
    _connect_seed(parts, studio)
    _connect_panel(parts.form.has_extra, parts.extra_panel)
    _connect_panel(parts.form.has_refiner, parts.refiner_panel)
    prompt_box.connect(parts.prompts, parts.buttons.clear)
    prompt_box.connect_styles(parts.style_row, parts.prompts, studio)


def connect_asking(
    parts: PaintingTab,
    studio: Studio,
    browser: gr.BrowserState,
    quick: Quicksettings,
    make_wishes: MakeWishes,
    *,
    examples_paint: bool = True,
) -> None:
    """Wire Generate and the example prompts.

    Args:
        make_wishes: Called with the form's values, sizes and seeds already corrected.
        examples_paint: An example is painted at once, instead of only written into the prompt.
    """
    form, buttons, stage = parts.form, parts.buttons, parts.results

    def correct(given: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        changed = corrections(given)
        for name in ("seed", "subseed"):
            if name in changed and (name == "seed" or given["has_extra"]):
                show_warning(say("not_a_seed", language_of(request), value=given[name]))
        return changed

    def submit(values: Values, request: gr.Request, **changed: Any) -> dict:
        given = {**form.read(values), **changed}
        corrected = correct(given, request)
        client = client_name(values[browser], request)
        forever = bool(values[buttons.forever])
        given = {**given, **corrected}
        script = plots.read(given, studio.plots.plans)
        for wish in make_wishes(given, values, request):
            wish = script_fields.asked(
                form.scripts, wish, {**values, A1111: given["script"]}, studio.inputs
            )
            if script is None and studio.control.replace(wish, client):
                continue
            if script is None:
                studio.submit(wish, client=client, forever=forever)
            else:
                studio.plots.submit(wish, script, client=client)
        return {**form.write(corrected), stage.picked: None}

    def generate(values: Values, request: gr.Request) -> dict:
        return submit(values, request)

    def use_example(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        if event._data["act"] != "example":
            return {stage.picked: gr.skip()}
        prompt = event._data["prompt"]
        tokens = prompt_box.counter(*studio.tokens.count(prompt))
        changes = {form.prompt: prompt, parts.prompts.prompt_tokens: tokens}
        return {**changes, **(submit(values, request, prompt=prompt) if examples_paint else {})}

    kit.connect(parts, studio, browser, quick)
    script_fields.connect(form.scripts, form.script)
    takes = [
        *form.components(), *quick.components(), buttons.forever, browser,
        *form.scripts.components,
    ]  # fmt: skip
    gives = [form.width, form.height, form.seed, form.subseed, stage.picked]
    wire_then_press(stage.wake, buttons.generate.click, generate, takes, gives, for_guests=True)
    gives += [form.prompt, parts.prompts.prompt_tokens]
    wire_then_press(stage.wake, stage.stage.act, use_example, takes, gives, for_guests=True)


def _connect_size(parts: PaintingTab, studio: Studio) -> None:
    form, buttons = parts.form, parts.buttons

    def swap(values: Values) -> dict:
        return {form.width: values[form.height], form.height: values[form.width]}

    def use_aspect(values: Values, event: gr.EventData) -> dict:
        record = studio.current_checkpoint()
        width, height = aspect_size(event._data["aspect"], studio.native_size(record))
        return {form.width: width, form.height: height}

    size = [form.width, form.height]
    wire(buttons.swap.click, swap, size, size, for_guests=True)
    wire(buttons.aspects.act, use_aspect, [], size, for_guests=True)


def _connect_four(parts: PaintingTab) -> None:
    """The box and the batch sliders say the same thing: one batch of four pictures or not."""
    form, four = parts.form, parts.buttons.four
    batches = [form.batch_size, form.batch_count]

    def choose(values: Values) -> dict:
        return {form.batch_size: 4 if values[four] else 1, form.batch_count: 1}

    def follow(values: Values) -> dict:
        return {four: (values[form.batch_size], values[form.batch_count]) == (4, 1)}

    wire(four.input, choose, [four], batches, is_quiet=True, for_guests=True)
    for part in batches:
        wire(
            part.change,
            follow,
            batches,
            [four],
            is_quiet=True,
            trigger_mode="always_last",
            for_guests=True,
        )


def connect_checkpoint(tabs: Sequence[PaintingTab], studio: Studio, quick: Quicksettings) -> None:
    """Another checkpoint is chosen; every tab follows its size."""

    def choose_title(values: Values, request: gr.Request) -> dict:
        return choose(values[quick.checkpoint] or "", values, request)

    def choose_card(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        record = studio.cards.get(event._data["id"]).record
        changes = choose(record.title, values, request)
        return {**changes, **quicksettings.present_checkpoint(quick, studio)}

    def choose(title: str, values: Values, request: gr.Request) -> dict:
        before = studio.current_checkpoint()
        try:
            record = studio.choose_checkpoint(title)
        except CheckpointNotFoundError as err:
            show_error(err)
            return quicksettings.present_checkpoint(quick, studio)
        is_news = before is None or before.path != record.path
        if is_news and studio.catalog.inspected(record).has_basic_support:
            tell("basic_support", request, name=record.stem)
        label = {quick.checkpoint: gr.update(label=quicksettings.checkpoint_label(studio))}
        kept = kit.of_checkpoint(tabs, studio, quick, request) if is_news else {}
        return {**label, **follow_checkpoint(tabs, studio, values), **kept}

    given = [quick.checkpoint, *sizes(tabs)]
    changed = [*given, *kit.checkpoint_fields(tabs, quick)]
    saves = [str(parts.buttons.autosave.elem_id) for parts in tabs]
    press = f"() => {json.dumps(saves)}.forEach((id) => document.getElementById(id).click())"
    events = [(quick.checkpoint.input, choose_title)]
    events += [(parts.networks.act, choose_card) for parts in tabs]
    for trigger, handler in events:
        wire(trigger, handler, given, changed).then(None, js=press)


def sizes(tabs: Sequence[PaintingTab]) -> list[Any]:
    """What ``follow_checkpoint`` needs and changes."""
    return [c for parts in tabs for c in (parts.form.width, parts.form.height, parts.auto_size)]


def follow_checkpoint(tabs: Sequence[PaintingTab], studio: Studio, values: Values) -> dict:
    """Every tab in the size of the checkpoint that is chosen now."""
    native = studio.native_size(studio.current_checkpoint())
    changes: dict[Any, Any] = {}
    for parts in tabs:
        changes |= follow_native_size(parts, native, values)
    return changes


def follow_native_size(parts: PaintingTab, native: int, values: Values) -> dict:
    """Give the form the checkpoint's size in the aspect the page chose before, unless a person
    has chosen another size."""
    form = parts.form
    before = tuple(values[parts.auto_size])
    now = size_like(before, native)
    if (values[form.width], values[form.height]) != before:
        return {parts.auto_size: now}
    return {form.width: now[0], form.height: now[1], parts.auto_size: now}


def size_like(size: tuple[int, int], native: int) -> tuple[int, int]:
    """A size of about native × native pixels in the aspect of another; multiples of 8, 64–2048."""
    across, down = size
    width = native * (across / down) ** 0.5
    height = native * native / width

    def fitted(pixels: float) -> int:
        return min(2048, max(64, round(pixels / 8) * 8))

    return fitted(width), fitted(height)


def _connect_seed(parts: PaintingTab, studio: Studio) -> None:
    form, buttons, stage = parts.form, parts.buttons, parts.results

    def random_seed(_values: Values) -> dict:
        return {form.seed: "-1"}

    def reuse_seed(values: Values, request: gr.Request) -> dict:
        picture = results.shown_picture(studio, values[stage.shown], language_of(request))
        return {form.seed: str(picture.seed if picture.seed is not None else -1)}

    wire(buttons.seed_random.click, random_seed, [], [form.seed], for_guests=True)
    wire(buttons.seed_reuse.click, reuse_seed, [stage.shown], [form.seed], for_guests=True)


def _connect_panel(switch: gr.Checkbox, panel: gr.Column) -> None:
    def open_it(values: Values) -> dict:
        return {panel: gr.update(visible=values[switch])}

    wire(switch.change, open_it, [switch], [panel], is_quiet=True, for_guests=True)


def fill_form(parts: PaintingTab, pasted: Pasted, studio: Studio) -> dict[Any, Any]:
    """Changes that put a recipe into the form, with chips for settings that differ."""
    styles = list(studio.styles.by_name())
    chips = pasted.chips
    values = {**pasted.values, **parts.form.scripts.pasted(pasted.pairs)}
    return {
        **parts.form.write(quicksettings.with_known_script(parts.form, values, studio)),
        parts.form.styles: gr.update(choices=styles, value=pasted.values.get("styles", [])),
        parts.form.overrides: gr.update(choices=chips, value=chips, visible=bool(chips)),
    }
