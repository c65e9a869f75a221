"""The texts of what helps: after failures, at the first visit, with few fields, while painting;
English and Chinese; part of ``texts.TEXTS``. Those that begin with ``simple_``, ``tour_`` and
``notify_`` are the browser's scripts', ``gradio_`` ones what Gradio's own parts are called."""

from __future__ import annotations

HELP_TEXTS: dict[str, tuple[str, str]] = {
    "help_smaller": ("Paint it smaller", "画小一些"),
    "help_one_by_one": ("One picture at a time", "每次只画一张"),
    "help_in_tiles": ("Encode and decode in tiles", "分块编码和解码"),
    "help_one_byte": ("Store the network in one byte per weight", "以每个权重一字节存储网络"),
    "help_own_vae": ("With the checkpoint’s own VAE", "使用模型自带的 VAE"),
    "help_without_networks": ("Without LoRAs", "不用 LoRA"),
    "help_in_float32": ("Paint it in float32", "用 float32 全精度绘制"),
    "help_calmer": ("With CFG scale 7", "将 CFG 设为 7"),
    "help_to_models": ("Open Models", "打开“模型”页"),
    "help_to_gallery": ("Open the gallery to delete pictures", "打开图库以删除图片"),
    "help_empty_trash": (
        "Delete the trash for good ({count} pictures) and paint again",
        "彻底清空回收站（{count} 张）并重新绘制",
    ),
    "help_free": ("Free on this disk: {free}.", "此磁盘剩余空间：{free}。"),
    "help_take_out": ("Take it out of the prompt", "从提示词中移除"),
    "notify_short": ("Notify", "通知我"),
    "notify_switch": (
        "Tell me when a job ends while I look elsewhere",
        "离开页面时，任务结束后通知我",
    ),
    "notify_refused": (
        "The browser does not allow notifications here.",
        "浏览器不允许此页面发送通知。",
    ),
    "notify_done": ("The picture is done.", "图片已完成。"),
    "notify_failed": ("The job failed.", "任务失败。"),
    "toast_warning": ("Warning", "警告"),
    "toast_info": ("Info", "提示"),
    "toast_error": ("Error", "错误"),
    "simple_on": ("Simple", "简洁"),
    "simple_off": ("All fields", "全部选项"),
    "simple_styles": ("Style", "风格"),
    "simple_photo": ("Photo", "照片"),
    "simple_ink": ("Ink", "水墨"),
    "simple_watercolour": ("Watercolour", "水彩"),
    "simple_oil": ("Oil", "油画"),
    "simple_anime": ("Anime", "动漫"),
    "simple_pixel": ("Pixel art", "像素画"),
    "gradio_more": ("More tabs", "更多标签页"),
    "gradio_drop": ("Click to upload or drop files", "点击上传或拖入文件"),
    "gradio_upload": ("Upload file", "上传文件"),
    "gradio_paste": ("Paste from clipboard", "从剪贴板粘贴"),
    "gradio_fullscreen": ("Fullscreen", "全屏"),
    "gradio_exit_fullscreen": ("Exit fullscreen mode", "退出全屏"),
    "gradio_remove_picture": ("Remove Image", "移除图片"),
    "gradio_reset": ("Reset to default value", "恢复默认值"),
    "tour_offer": ("New here?", "第一次使用？"),
    "tour_begin": ("Show me around", "带我看看"),
    "tour_never": ("No, thanks", "不用了"),
    "tour_title": ("A first look around", "快速导览"),
    "tour_next": ("Next", "下一步"),
    "tour_done": ("Done", "完成"),
    "tour_end": ("Skip", "跳过"),
    "tour_prompt": (
        "Here you write what shall be in the picture. Choose one of these, or write your own.",
        "在这里写下想画的内容。可选择下面的一句，也可以自己写。",
    ),
    "tour_generate": (
        "This paints it; so does Ctrl+Enter. Every press is a job in the queue.",
        "按这里开始作画，也可以按 Ctrl+Enter。每按一次都会加入队列。",
    ),
    "tour_stage": (
        "The picture appears here, and below it: vary it, enlarge it, send it on.",
        "图片会出现在这里；下方可以做变体、放大或发送到其他页面。",
    ),
    "tour_tabs": (
        "More in the tabs: paint over pictures, restore photographs, get models, settings.",
        "更多功能在这些标签页里：重绘图片、修复照片、获取模型、设置。",
    ),
}
