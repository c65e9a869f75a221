"""The texts of plots and of the queue's foresight, English and Chinese; part of ``texts.TEXTS``."""

from __future__ import annotations

PLOTS_TEXTS: dict[str, tuple[str, str]] = {
    "plot_axis": ("{letter} axis", "{letter} 轴"),
    "plot_values": (
        "Values, with commas or ranges: 1-5, 1-10 (+2), 1-10 [5]",
        "取值，用逗号分隔或写区间：1-5, 1-10 (+2), 1-10 [5]",
    ),
    "plot_values_text": (
        'Values with commas; quotes keep commas: "a, b", c',
        '取值，用逗号分隔；含逗号的加引号："a, b", c',
    ),
    "plot_fill": ("All values", "填入全部"),
    "plot_add": ("Add a value", "添加取值"),
    "plot_swap": ("Swap {a} and {b}", "交换 {a} 与 {b}"),
    "plot_file": ("Read a text file", "读取文本文件"),
    "plot_unread": (
        "The fields could not be read. Is the server running?",
        "无法读取各项参数，服务器在运行吗？",
    ),
    "plot_cells": ("{done} of {count} cells", "{done}/{count} 格"),
    "plot_failed_cells": ("{count} failed", "{count} 格失败"),
    "queue_edit": ("Edit: back into the form", "编辑：回到表单"),
    "queue_edited": (
        "The job is held and stands in the form. Generate puts the changed one in its place.",
        "任务已暂缓并填入表单；按“生成”将用修改后的内容替换它。",
    ),
    "queue_hold": ("Hold this job", "暂缓此任务"),
    "queue_release": ("Let it go on", "继续此任务"),
    "queue_prefer": ("Higher priority", "提高优先级"),
    "queue_defer": ("Lower priority", "降低优先级"),
    "queue_repeat": ("Once more", "再来一次"),
    "queue_priority": ("priority {priority}", "优先级 {priority}"),
    "queue_when": ("begins in {start}, takes {time}", "{start} 后开始，需 {time}"),
    "queue_takes": ("takes {time}", "需 {time}"),
    "queue_total": ("All done in about {time}.", "全部完成约需 {time}。"),
    "queue_total_least": ("All done in {time} at the earliest.", "全部完成至少需 {time}。"),
    "state_held": ("held", "已暂缓"),
    "cost_seconds": ("≈ {time}", "约 {time}"),
    "cost_memory": ("{size} GB", "{size} GB 内存"),
    "cost_cells": ("{cells} cells", "{cells} 格"),
    "cost_sheet": ("sheet of {megapixels} MP", "总图 {megapixels} MP"),
    "cost_shrunk": ("drawn smaller: too large for one file", "过大，将缩小绘制"),
    "cost_unknown": ("time known after the first picture", "首张图后可估计时间"),
    "cost_pictures": ("{count} pictures", "{count} 张"),
    "cost_cheaper": ("Quicker:", "更快的选择："),
    "cost_steps": ("{steps} steps", "{steps} 步"),
    "cost_without_hires": ("without Hires. fix", "不用高清修复"),
    "cost_waits": ("{time} before it begins", "排队约 {time}"),
}
