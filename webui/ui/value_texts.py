"""What menus call the words that recipes are made of; part of ``texts.TEXTS``.

A value stays what A1111's files say ("Automatic"), whoever reads the page. Names of methods and
people (Karras, DPM++, Lanczos) have no entry: they are the same in every language.
"""

from __future__ import annotations

VALUE_PREFIX = "value_"
VALUES_ZH: dict[str, str] = {
    # Of many menus
    "Automatic": "自动", "None": "无", "Nearest": "最近邻 (Nearest)",
    # Schedules
    "Uniform": "均匀 (Uniform)", "Exponential": "指数 (Exponential)",
    "Polyexponential": "多项式指数 (Polyexponential)", "SGM Uniform": "SGM 均匀 (SGM Uniform)",
    "KL Optimal": "KL 最优 (KL Optimal)", "Simple": "简单 (Simple)", "Normal": "常规 (Normal)",
    # Hires fix
    "Use same sampler": "与第一遍相同", "Use same scheduler": "与第一遍相同",
    "Use same checkpoint": "与第一遍相同",
    "Latent": "潜空间 (Latent)", "Latent (antialiased)": "潜空间（抗锯齿）",
    "Latent (bicubic)": "潜空间（双三次）",
    "Latent (bicubic antialiased)": "潜空间（双三次抗锯齿）",
    "Latent (nearest)": "潜空间（最近邻）", "Latent (nearest-exact)": "潜空间（精确最近邻）",
    # Options
    "Disable": "关闭 (Disable)", "Enable for SDXL": "仅 SDXL 启用", "Enable": "启用 (Enable)",
    "Ignore": "忽略 (Ignore)", "Original": "原版 (Original)", "No norm": "不归一化 (No norm)",
    "Tab": "制表符 (Tab)", "Carriage Return": "回车符 (CR)", "Line Feed": "换行符 (LF)",
    "Default": "默认 (Default)", "Zero Terminal SNR": "零终端信噪比 (Zero Terminal SNR)",
    "first pass": "第一遍", "second pass": "第二遍", "both passes": "两遍都用",
    "Alias from file": "文件中的别名", "Filename": "文件名",
    "Full": "完整 (Full)", "Approx NN": "近似网络 (Approx NN)",
    "Approx cheap": "快速近似 (Approx cheap)",
    "Apply": "应用 (Apply)", "Discard": "丢弃 (Discard)", "Apply if any": "有则应用 (Apply if any)",
    # Presets that come along, and no preprocessor
    "Anime · SD 1.5": "动漫 · SD 1.5", "Anime · SDXL": "动漫 · SDXL",
    "Photo · SD 1.5": "照片 · SD 1.5", "Photo · SDXL": "照片 · SDXL", "none": "无",
    "time_uniform": "时间均匀 (time_uniform)", "time_quadratic": "时间二次 (time_quadratic)",
}  # fmt: skip
"""Chinese names by value; English pages show the value."""

VALUE_TEXTS: dict[str, tuple[str, str]] = {
    f"{VALUE_PREFIX}{value}": (value, chinese) for value, chinese in VALUES_ZH.items()
}
