"""The texts of the Settings tab, English and Chinese; part of ``texts.TEXTS``. The browser's script
has them all; what each option does is told by ``option_texts``."""

from __future__ import annotations

SETTINGS_TEXTS: dict[str, tuple[str, str]] = {
    "settings_search": ("Search settings", "搜索设置"),
    "settings_apply": ("Apply settings", "应用设置"),
    "settings_applied": ("Changed and saved: {names}", "已修改并保存：{names}"),
    "settings_undone": ("Taken back: {names}", "已撤销：{names}"),
    "settings_redone": ("Changed again: {names}", "已重做：{names}"),
    "settings_and_more": (" and {count} more", " 等另外 {count} 项"),
    "settings_same": ("Nothing was changed.", "没有任何改动。"),
    "settings_wrong_number": (
        "“{label}” is “{value}”; a number ({range}) is needed.",
        "“{label}”的值是“{value}”；这里需要一个数字（{range}）。",
    ),
    "settings_nothing": ("No setting matches.", "没有匹配的设置。"),
    "settings_undo": ("Take back the last change of settings", "撤销上一次设置更改"),
    "settings_redo": ("Make it again", "重做"),
    "settings_reset": ("Back to the default: {value}", "恢复默认值：{value}"),
    "settings_reset_group": ("Reset all of “{title}”", "重置“{title}”的全部设置"),
    "settings_reset_all": ("Reset all", "全部重置"),
    "settings_reset_sure": (
        "Put {count} settings back to their defaults? This can be taken back.",
        "将 {count} 项设置恢复为默认值？此操作可以撤销。",
    ),
    "settings_all_default": ("Everything is at its default.", "所有设置均为默认值。"),
    "settings_default": ("default {value}", "默认 {value}"),
    "settings_up": ("from {value} up", "不小于 {value}"),
    "settings_any": ("any", "任意"),
    "settings_on": ("on", "开"),
    "settings_off": ("off", "关"),
    "settings_empty": ("empty", "空"),
    "settings_frozen": (
        "Settings were frozen when the program was started (--freeze-settings).",
        "程序启动时已锁定设置（--freeze-settings）。",
    ),
    "settings_start": ("Fresh pages: {tab}", "新页面初始值：{tab}"),
    "settings_start_note": (
        "What the form begins with in a browser that was never here (ui-config.json).",
        "首次打开的浏览器中表单的初始值（ui-config.json）。",
    ),
}
