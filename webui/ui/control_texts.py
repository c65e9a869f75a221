"""The texts of the ControlNet panel, English and Chinese; part of ``texts.TEXTS``."""

from __future__ import annotations

CONTROL_TEXTS: dict[str, tuple[str, str]] = {
    "ctl_title": ("ControlNet", "ControlNet"),
    "ctl_acting": ("{count} on", "启用 {count} 个"),
    "ctl_unit": ("Unit {number}", "单元 {number}"),
    "ctl_on": ("Enable", "启用"),
    "ctl_pixel_perfect": ("Pixel perfect", "完美像素模式"),
    "ctl_low_vram": ("Low VRAM", "低显存模式"),
    "ctl_image": ("Picture to follow", "控制图"),
    "ctl_image_hint": ("Drop a picture here or click", "拖入图片或点击选择"),
    "ctl_image_usual": ("Empty: the picture that is repainted", "留空则使用被重绘的图片"),
    "ctl_map": ("Map", "预处理结果"),
    "ctl_map_hint": ("What the ControlNet will see", "ControlNet 将看到的图"),
    "ctl_make_map": ("Preview the map", "预览处理结果"),
    "ctl_mask": ("Mask (white = repaint)", "蒙版（白色 = 重绘）"),
    "ctl_choose_mask": ("Choose a mask", "选择蒙版"),
    "ctl_clear": ("Remove", "移除"),
    "ctl_type": ("Control type", "控制类型"),
    "ctl_module": ("Preprocessor", "预处理器"),
    "ctl_needs": ("{name}: needs {file}", "{name}：需要 {file}"),
    "ctl_needs_where": (
        "Into models/ControlNetPreprocessor, then refresh:",
        "放入 models/ControlNetPreprocessor 后点刷新：",
    ),
    "ctl_making_map": ("A ControlNet's map", "ControlNet 预处理"),
    "ctl_waits": ("Waiting for its turn …", "正在排队处理……"),
    "ctl_model": ("Model", "模型"),
    "ctl_no_model": ("None", "无"),
    "ctl_no_models": (
        "No ControlNet lies in models/ControlNet. Put one there and refresh.",
        "models/ControlNet 中没有 ControlNet 模型。放入后点刷新。",
    ),
    "ctl_refresh": ("Refresh models", "刷新模型"),
    "ctl_weight": ("Weight", "权重"),
    "ctl_guidance_start": ("Starting step", "引导介入时机"),
    "ctl_guidance_end": ("Ending step", "引导终止时机"),
    "ctl_control_mode": ("Control mode", "控制模式"),
    "ctl_balanced": ("Balanced", "均衡"),
    "ctl_my_prompt_is_more_important": ("My prompt is more important", "更偏向提示词"),
    "ctl_controlnet_is_more_important": ("ControlNet is more important", "更偏向 ControlNet"),
    "ctl_resize_mode": ("Resize mode", "缩放模式"),
    "ctl_just_resize": ("Just Resize", "直接缩放"),
    "ctl_crop_and_resize": ("Crop and Resize", "裁剪后缩放"),
    "ctl_resize_and_fill": ("Resize and Fill", "缩放后填充空白"),
    "ctl_hr_option": ("With Hires. fix", "高清修复时"),
    "ctl_both": ("Both passes", "两遍都用"),
    "ctl_low_res_only": ("First pass only", "仅第一遍"),
    "ctl_high_res_only": ("Second pass only", "仅第二遍"),
    "ctl_unread": (
        "The ControlNets could not be listed. Is the server running?",
        "无法读取 ControlNet 列表，服务器在运行吗？",
    ),
}

KNOB_TEXTS: dict[str, str] = {
    "Resolution": "处理分辨率", "Low Threshold": "低阈值", "High Threshold": "高阈值",
    "XDoG Threshold": "XDoG 阈值", "Binarization Threshold": "二值化阈值", "Sigma": "模糊半径 σ",
    "Down Sampling Rate": "下采样倍率", "Variation": "变化幅度", "Sharpness": "锐度",
    "Gamma Correction": "伽马校正",
}  # fmt: skip
TYPE_TEXTS: dict[str, str] = {
    "All": "全部", "Canny": "硬边缘", "Depth": "深度", "NormalMap": "法线", "OpenPose": "姿态",
    "MLSD": "直线", "Lineart": "线稿", "SoftEdge": "软边缘", "Scribble": "涂鸦",
    "Sketch": "草图", "Segmentation": "语义分割", "Shuffle": "随机洗牌", "Tile": "分块",
    "Blur": "模糊", "Inpaint": "局部重绘", "InstructP2P": "指令编辑", "Recolor": "重上色",
}  # fmt: skip
"""What the numbers of preprocessors and the kinds of control are called in Chinese; English pages
show the extension's names."""
