"""Looks: colours, system fonts, the style sheet and the page's own script. Nothing from outside."""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

from webui.ui.texts import TEXTS
from webui.ui.value_texts import VALUE_PREFIX

ASSETS = Path(__file__).parent / "assets"

FONTS = (
    "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "PingFang SC",
    "Hiragino Sans GB", "Microsoft YaHei", "Noto Sans CJK SC", "Source Han Sans SC", "sans-serif",
)  # fmt: skip
MONO_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Noto Sans Mono", "monospace")

AZURE = gr.themes.Color(
    c50="#eef6fa", c100="#d8eaf3", c200="#b4d6e7", c300="#84bad5", c400="#4f9abf", c500="#276f96",
    c600="#23688d", c700="#1e5473", c800="#1c4660", c900="#193a50", c950="#0f2534", name="azure",
)  # fmt: skip
INK = gr.themes.Color(
    c50="#f7f7f5", c100="#efefec", c200="#dfdfdb", c300="#c6c7c3", c400="#9a9c9a", c500="#737674",
    c600="#565a59", c700="#3c4041", c800="#26292b", c900="#1b1d1f", c950="#131517", name="ink",
)  # fmt: skip

TITLES = {
    "dq-folder": "open_folder", "dq-save": "save", "dq-zip": "zip",
    "dq-send-txt2img": "send_txt2img_long", "dq-send-img2img": "send_img2img_long",
    "dq-send-inpaint": "send_inpaint_long", "dq-send-png-info": "send_png_info_long",
    "dq-send-restore": "send_restore_long",
    "dq-refresh": "refresh", "dq-paste": "paste", "dq-clear": "clear_prompt",
    "dq-style-apply": "style_apply", "dq-style-edit": "style_edit", "dq-swap": "swap",
    "dq-seed-random": "seed_random", "dq-seed-reuse": "seed_reuse", "dq-measure": "measure",
    "dq-tokens": "words_tokens",
}  # fmt: skip
"""Buttons that show only a sign or a number, and the text that names them."""
STYLES = (
    "style.css", "canvas.css", "extra_networks.css", "gallery.css", "train.css", "plots.css",
    "extension_panels.css", "extensions.css", "control_panel.css", "words.css", "settings.css",
    "help.css",
)  # fmt: skip
SCRIPTS = (
    "texts.js", "actions.js", "canvas.js", "card_prompts.js", "card_drawing.js", "card_details.js",
    "extra_networks.js", "gallery.js", "gallery_view.js", "fields.js", "plots.js",
    "extension_panels.js",
    "control_panel.js",
    "extensions.js", "words.js", "kit.js", "settings.js", "train.js", "page.js", "dropping.js",
    "help.js", "simple.js", "tour.js",
)  # fmt: skip
"""In the order in which they build upon each other."""
_OF_SCRIPTS = (
    "canvas_", "net_", "gal_", "send_to_", "plot_", "ext_", "ctl_", "words_", "kit_", "settings_",
    "simple_", "tour_", "notify_", "tab_", "gradio_", "toast_", VALUE_PREFIX,
)  # fmt: skip
SCRIPTS_TEXTS = tuple(key for key in TEXTS if key.startswith(_OF_SCRIPTS))


def make_theme() -> gr.themes.Base:
    """Azurite blue on paper and ink; dense as a tool, with room to breathe."""
    theme = gr.themes.Base(
        primary_hue=AZURE,
        secondary_hue=AZURE,
        neutral_hue=INK,
        font=list(FONTS),
        font_mono=list(MONO_FONTS),
        spacing_size=gr.themes.sizes.spacing_sm,
        radius_size=gr.themes.sizes.radius_md,
        text_size=gr.themes.sizes.text_sm,
    )
    return theme.set(
        body_background_fill="*neutral_100",
        body_background_fill_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="0px",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_300",
        block_title_text_weight="500",
        block_info_text_color="*neutral_500",
        block_info_text_color_dark="*neutral_400",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        input_placeholder_color="*neutral_600",
        input_placeholder_color_dark="*neutral_400",
        block_shadow="none",
        input_background_fill="*neutral_50",
        input_background_fill_dark="*neutral_800",
        input_border_color="*neutral_200",
        input_border_color_dark="*neutral_700",
        input_border_color_focus="*primary_500",
        input_border_color_focus_dark="*primary_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_hover="*neutral_50",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        button_secondary_border_color="*neutral_200",
        button_secondary_border_color_dark="*neutral_700",
        button_border_width="1px",
        slider_color="*primary_500",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_500",
        checkbox_background_color_selected="*primary_600",
        checkbox_background_color_selected_dark="*primary_500",
    )


def style_sheet() -> str:
    """The page's CSS."""
    return "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in STYLES)


def head(forced_theme: str | None) -> str:
    """The page's script with the texts it needs, for the document's head.

    Args:
        forced_theme: ``dark`` or ``light``; None follows the system.
    """
    script_texts = {
        key: TEXTS[key]
        for key in (
            "offline",
            "recipe_reading",
            "recipe_nothing",
            "recipe_left_out",
            "page_renewed",
            "restarted",
            "close",
            "enlarge",
            *SCRIPTS_TEXTS,
            *TITLES.values(),
        )
    }
    facts = {"theme": forced_theme, "titles": TITLES, "texts": script_texts}
    data = json.dumps(facts, ensure_ascii=False).replace("</", "<\\/")
    script = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return (
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<script>window.danqingFacts = {data};\n{script}</script>"
    )
