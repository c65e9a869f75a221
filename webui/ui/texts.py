"""Every visible text of the page, in English and Simplified Chinese.

``label(key)`` is for components: the browser picks the language. ``say(key, language)`` is for
text made while the program runs, in the language the browser asked for.
"""

from __future__ import annotations

from collections.abc import Iterable

import gradio as gr
from gradio.i18n import I18nData
from starlette.requests import HTTPConnection

from webui.ui.control_texts import CONTROL_TEXTS
from webui.ui.extension_texts import EXTENSION_TEXTS
from webui.ui.extra_networks_texts import EXTRA_NETWORKS_TEXTS
from webui.ui.gallery_texts import GALLERY_TEXTS
from webui.ui.help_texts import HELP_TEXTS
from webui.ui.models_texts import MODELS_TEXTS
from webui.ui.models_tools_texts import TOOLS_TEXTS
from webui.ui.plots_texts import PLOTS_TEXTS
from webui.ui.restore_texts import RESTORE_TEXTS
from webui.ui.settings_texts import SETTINGS_TEXTS
from webui.ui.train_texts import TRAIN_LABELS, TRAIN_TEXTS
from webui.ui.value_texts import VALUE_PREFIX, VALUE_TEXTS
from webui.ui.words_texts import WORDS_TEXTS

ENGLISH, CHINESE = "en", "zh"

TEXTS: dict[str, tuple[str, str]] = {
    **RESTORE_TEXTS,
    **TRAIN_LABELS,
    **EXTRA_NETWORKS_TEXTS,
    **GALLERY_TEXTS,
    **WORDS_TEXTS,
    **SETTINGS_TEXTS,
    **HELP_TEXTS,
    **MODELS_TEXTS,
    **TOOLS_TEXTS,
    **PLOTS_TEXTS,
    **EXTENSION_TEXTS,
    **CONTROL_TEXTS,
    **VALUE_TEXTS,
    # Tabs
    "tab_txt2img": ("txt2img", "文生图"),
    "tab_img2img": ("img2img", "图生图"),
    "tab_png_info": ("PNG Info", "图片信息"),
    "tab_queue": ("Queue", "队列"),
    "tab_extensions": ("Extensions", "扩展"),
    "tab_settings": ("Settings", "设置"),
    # Quicksettings
    "checkpoint": ("Stable Diffusion checkpoint", "Stable Diffusion 模型"),
    "checkpoint_basic": ("Checkpoint · basic support", "模型 · 基础支持"),
    "basic_support": (
        "{name} has basic support: diffusers' own pipeline paints it, with the plain options. "
        "Sampler, LoRAs, hires fix, masks and the like do nothing.",
        "{name} 为基础支持：由 diffusers 自带的管线绘制，只有基本选项有效；采样器、LoRA、"
        "高清修复、蒙版等不起作用。",
    ),
    "refresh": ("Look for new models", "刷新模型列表"),
    "vae": ("SD VAE", "SD VAE"),
    "clip_skip": ("Clip skip", "Clip 跳过层"),
    # Prompt
    "prompt": ("Prompt", "提示词"),
    "prompt_hint": (
        "What do you want to see? (Ctrl+Enter)",
        "想画什么？（Ctrl+Enter 开始生成）",
    ),
    "negative_prompt": ("Negative prompt", "反向提示词"),
    "negative_hint": ("What should not be in it?", "画面里不要出现什么？"),
    "styles": ("Styles", "预设样式"),
    "style_apply": ("Write the chosen styles into the prompt", "把所选样式写入提示词"),
    "style_edit": ("Save or delete styles", "保存或删除样式"),
    "style_name": ("Style name", "样式名称"),
    "style_save": ("Save prompt as style", "将提示词存为样式"),
    "style_delete": ("Delete style", "删除样式"),
    "style_saved": ("The style “{name}” is saved.", "样式“{name}”已保存。"),
    "style_deleted": ("The style “{name}” is deleted.", "样式“{name}”已删除。"),
    "style_back": ("Undo: bring back the style “{name}”", "撤销：恢复样式“{name}”"),
    "style_missing": ("There is no style “{name}”.", "没有名为“{name}”的样式。"),
    "style_unnamed": ("Give the style a name first.", "请先填写样式名称。"),
    "paste": (
        "Read parameters from the prompt box, or from the last picture",
        "从提示词框或上一张图读取参数",
    ),
    "clear_prompt": ("Clear the prompt", "清空提示词"),
    "pasted": ("Parameters were read.", "参数已读取。"),
    "pasted_without": (
        "Parameters were read. Not here, so yours stays: {names}.",
        "参数已读取。本机没有、因此保持不变：{names}。",
    ),
    "pasted_left_out": (
        "Parameters were read. Not carried over: {names}",
        "参数已读取。未能带入：{names}",
    ),
    "recipe_of": ("Made with {program}.", "由 {program} 生成。"),
    "recipe_left_out": ("Not carried over", "未能带入的内容"),
    "recipe_reading": ("Reading the recipe …", "正在读取参数……"),
    "recipe_nothing": (
        "No recipe was found in what was dropped or pasted.",
        "拖入或粘贴的内容里没有找到生成参数。",
    ),
    "nothing_to_paste": (
        "There is no recipe to read yet: paste one into the prompt box, or make a picture first.",
        "还没有可读取的参数：请先把参数文本粘贴到提示词框，或先生成一张图。",
    ),
    "overrides": ("Override settings", "覆盖设置"),
    "overrides_hint": (
        "Settings of the pasted picture that differ from yours; used for the next pictures only.",
        "来自所读参数、与当前设置不同的项目；只对接下来的图片生效。",
    ),
    # Actions
    "generate": ("Generate", "生成"),
    "interrupt": ("Interrupt", "中断"),
    "skip": ("Skip", "跳过"),
    "forever": ("Generate forever", "无限生成"),
    "four": ("2×2 grid", "四宫格 2×2"),
    # Form
    "sampler": ("Sampling method", "采样方法"),
    "schedule": ("Schedule type", "调度类型"),
    "steps": ("Sampling steps", "采样步数"),
    "width": ("Width", "宽度"),
    "height": ("Height", "高度"),
    "not_a_seed": (
        "“{value}” is no seed; a random one is used.",
        "“{value}”不是有效的种子，已改用随机种子。",
    ),
    "swap": ("Swap width and height", "交换宽高"),
    "aspect": ("Aspect ratio", "宽高比"),
    "batch_count": ("Batch count", "批次数"),
    "batch_size": ("Batch size", "每批数量"),
    "cfg_scale": ("CFG Scale", "CFG 引导系数"),
    "seed": ("Seed", "随机种子"),
    "seed_random": ("Random seed (-1)", "随机种子 (-1)"),
    "seed_reuse": ("Reuse the seed of the shown picture", "使用当前图片的种子"),
    "seed_extra": ("Extra", "变异种子"),
    "subseed": ("Variation seed", "变异种子"),
    "subseed_strength": ("Variation strength", "变异强度"),
    "seed_resize_from_w": ("Resize seed from width", "种子尺寸：原宽度"),
    "seed_resize_from_h": ("Resize seed from height", "种子尺寸：原高度"),
    "tiling": ("Tiling", "无缝平铺"),
    "hires": ("Hires. fix", "高清修复 (Hires. fix)"),
    "hires_upscaler": ("Upscaler", "放大算法"),
    "hires_steps": ("Hires steps", "高清步数"),
    "hires_steps_info": ("0 = as many as the first pass", "0 = 与第一遍相同"),
    "hires_denoising": ("Denoising strength", "重绘幅度"),
    "hires_scale": ("Upscale by", "放大倍数"),
    "hires_resize_x": ("Resize width to", "宽度调整为"),
    "hires_resize_y": ("Resize height to", "高度调整为"),
    "hires_sampler": ("Hires sampling method", "高清采样方法"),
    "hires_schedule": ("Hires schedule type", "高清调度类型"),
    "hires_prompt": ("Hires prompt", "高清提示词"),
    "hires_negative": ("Hires negative prompt", "高清反向提示词"),
    "hires_same_prompt": ("Empty = as in the first pass", "留空 = 与第一遍相同"),
    "hires_more": (
        "Checkpoint, sampler and prompts of the second pass",
        "第二遍的模型、采样方法与提示词",
    ),
    "hires_checkpoint": ("Hires checkpoint", "高清修复模型"),
    "hires_cfg": ("Hires CFG Scale", "高清 CFG 引导系数"),
    "hires_cfg_info": ("0 = as in the first pass", "0 = 与第一遍相同"),
    "refiner": ("Refiner", "精修模型 (Refiner)"),
    "refiner_checkpoint": ("Refiner checkpoint", "精修模型"),
    "refiner_switch_at": ("Switch at", "切换时机"),
    "refiner_switch_info": (
        "Share of the painting that is done when it takes over",
        "完成到这个比例时换用精修模型",
    ),
    "tiles": ("Tiled diffusion", "分块扩散 (Tiled diffusion)"),
    "has_tiles": ("Paint in overlapping tiles", "用相互重叠的分块绘制"),
    "tile_method": ("Method", "方法"),
    "tile_width": ("Tile width", "分块宽度"),
    "tile_height": ("Tile height", "分块高度"),
    "tile_overlap": ("Overlap", "重叠"),
    "tile_batch": ("Tiles at once", "同时处理的分块数"),
    # img2img
    "modes": ("Way of working", "工作方式"),
    "mode_img2img": ("img2img", "图生图"),
    "mode_sketch": ("Sketch", "涂鸦"),
    "mode_inpaint": ("Inpaint", "局部重绘"),
    "mode_inpaint_sketch": ("Inpaint sketch", "涂鸦重绘"),
    "mode_inpaint_upload": ("Inpaint upload", "上传蒙版重绘"),
    "mode_batch": ("Batch", "批量处理"),
    "copy_to": ("Copy picture to", "将图片复制到"),
    "earlier_inputs": ("Earlier inputs", "之前的输入图"),
    "earlier_input": ("Bring back earlier input {number}", "取回之前的第 {number} 张输入图"),
    "no_input": ("There is no picture to begin with.", "还没有输入图片。"),
    "no_input_hint": (
        "Drop one on the canvas, paste it, or send a finished picture here.",
        "请把图片拖到画布上、粘贴进来，或从生成结果发送过来。",
    ),
    "no_mask": ("Nothing is masked.", "还没有蒙版。"),
    "no_mask_hint": ("Paint over what is to be repainted.", "请在画布上涂抹要重绘的部分。"),
    "no_mask_upload_hint": (
        "Put a mask picture into the second field: white is repainted.",
        "请在第二个框里放入蒙版图片：白色部分会被重绘。",
    ),
    "denoising_strength": ("Denoising strength", "重绘幅度"),
    "image_cfg": ("Image CFG Scale", "图像 CFG 引导系数"),
    "image_cfg_info": (
        "How closely the result keeps to the input picture",
        "结果与输入图片保持一致的程度",
    ),
    "resize_mode": ("Resize mode", "缩放模式"),
    "resize_upscaler": ("Upscaler, where the picture is enlarged", "放大输入图片时使用的算法"),
    "as_in_settings": ("As in settings", "按设置"),
    "resize_just": ("Just resize", "拉伸"),
    "resize_crop": ("Crop and resize", "裁剪后缩放"),
    "resize_fill": ("Resize and fill", "缩放后填充"),
    "resize_latent": ("Just resize (latent upscale)", "拉伸（潜空间放大）"),
    "size_rule": ("Size", "尺寸"),
    "resize_to": ("Resize to", "缩放到"),
    "resize_by": ("Resize by", "按倍数缩放"),
    "resize_scale": ("Scale", "倍数"),
    "measure": ("Take the size of the picture", "使用输入图片的尺寸"),
    "mask_blur": ("Mask blur", "蒙版边缘模糊度"),
    "mask_mode": ("Mask mode", "蒙版模式"),
    "mask_masked": ("Inpaint masked", "重绘蒙版内容"),
    "mask_not_masked": ("Inpaint not masked", "重绘非蒙版内容"),
    "mask_content": ("Masked content", "蒙版区域内容处理"),
    "content_fill": ("fill", "填充"),
    "content_original": ("original", "原版"),
    "content_noise": ("latent noise", "潜空间噪声"),
    "content_nothing": ("latent nothing", "空白潜空间"),
    "inpaint_area": ("Inpaint area", "重绘区域"),
    "area_whole": ("Whole picture", "整张图片"),
    "area_masked": ("Only masked", "仅蒙版区域"),
    "padding": ("Only masked padding, pixels", "仅蒙版区域的边缘预留像素"),
    "soft": ("Soft inpainting", "柔和重绘 (Soft inpainting)"),
    "has_soft": ("Blend softly at the mask's edge", "在蒙版边缘柔和过渡"),
    "soft_bias": ("Schedule bias", "调度偏移"),
    "soft_preservation": ("Preservation strength", "内容保留强度"),
    "soft_contrast": ("Transition contrast boost", "过渡对比度增强"),
    "soft_influence": ("Mask influence", "蒙版影响"),
    "soft_threshold": ("Difference threshold", "差异阈值"),
    "soft_difference": ("Difference contrast", "差异对比度"),
    "script": ("Script", "脚本"),
    "script_none": ("None", "无"),
    "script_loopback": ("Loopback", "回送 (Loopback)"),
    "script_outpainting": ("Outpainting", "向外扩图"),
    "script_sd_upscale": ("SD upscale", "SD 放大"),
    "script_without_mask": (
        "{script} cannot be used together with a mask: choose the sub-tab img2img or Sketch, "
        "or another script.",
        "“{script}”不能与蒙版同时使用：请改用“图生图”或“涂鸦”，或选择其他脚本。",
    ),
    "loops": ("Loops", "循环次数"),
    "final_denoising": ("Final denoising strength", "最终重绘幅度"),
    "loop_curve": ("Denoising strength curve", "重绘幅度曲线"),
    "loop_interrogation": (
        "Append interrogated prompt at each iteration",
        "每次循环时追加反推的提示词",
    ),
    "interrogation_none": ("Nothing", "不追加"),
    "interrogation_clip": ("A sentence (CLIP)", "一句描述 (CLIP)"),
    "interrogation_tags": ("Tags (DeepBooru, WD)", "标签 (DeepBooru, WD)"),
    "curve_aggressive": ("Aggressive", "激进"),
    "curve_linear": ("Linear", "线性"),
    "curve_lazy": ("Lazy", "缓和"),
    "outpaint_sides": ("Outpainting direction", "扩图方向"),
    "outpaint_hint": (
        "A denoising strength of 0.5–0.65 continues a background; more invents new things.",
        "重绘幅度 0.5–0.65 会延续背景；更高则会画出新的内容。",
    ),
    "side_left": ("← Left", "← 左"),
    "side_right": ("→ Right", "→ 右"),
    "side_up": ("↑ Up", "↑ 上"),
    "side_down": ("↓ Down", "↓ 下"),
    "outpaint_pixels": ("Pixels to expand", "扩展像素"),
    "outpaint_blur": ("Blur of the seam", "接缝模糊度"),
    "outpaint_content": ("New part begins with", "新区域的初始内容"),
    "content_continue": ("continued colours", "延续画面"),
    "content_matched": ("matched noise (mk2)", "匹配噪声 (mk2)"),
    "outpaint_noise_q": ("Fall-off exponent", "衰减指数"),
    "outpaint_color": ("Color variation", "颜色变化"),
    "upscaler": ("Upscaler", "放大算法"),
    "upscale_scale": ("Scale factor", "放大倍数"),
    "upscale_overlap": ("Tile overlap", "分块重叠"),
    "batch_source": ("Pictures", "图片来源"),
    "batch_upload": ("Upload", "上传"),
    "batch_directory": ("From directory", "从文件夹"),
    "batch_drop": ("Drop pictures here", "把图片拖到这里"),
    "batch_clear": ("Clear the list", "清空列表"),
    "batch_input_dir": ("Input directory", "输入文件夹"),
    "batch_output_dir": ("Output directory", "输出文件夹"),
    "batch_mask_dir": ("Inpaint batch mask directory", "蒙版文件夹（用于局部重绘）"),
    "batch_folder_hint": (
        "Write the whole path of a folder on the machine that paints.",
        "请填写绘图所在机器上的完整文件夹路径。",
    ),
    "batch_output_hint": ("Empty = the usual output folder", "留空 = 默认输出文件夹"),
    "batch_mask_hint": (
        "Empty = no masks; one mask is for all, several go by file name",
        "留空 = 不用蒙版；只有一张时用于全部，多张时按文件名对应",
    ),
    "batch_no_folder": ("“{what}” is empty.", "“{what}”为空。"),
    "batch_not_a_folder": (
        "“{what}” was {path}, which is no folder that can be used.",
        "“{what}”的值是 {path}，这不是可用的文件夹。",
    ),
    "batch_refused": (
        "Folders of this machine's disk are only for a page that no other machine reaches.",
        "只有未对其他机器开放的页面才能使用本机磁盘上的文件夹。",
    ),
    "batch_refused_hint": (
        "Upload the pictures, or start the program without --listen, --server-name and --share.",
        "请改用上传，或在启动时去掉 --listen、--server-name 和 --share。",
    ),
    "batch_empty": ("There is no picture to paint from.", "没有可用的图片。"),
    "batch_empty_hint": ("Add pictures to the batch.", "请为批量处理添加图片。"),
    "batch_skipped": ("Skipped: {names}", "已跳过：{names}"),
    "batch_no_mask": ("{name}: no mask of that name", "{name}：没有同名蒙版"),
    "has_png_info": ("Take values from each picture's PNG info", "读取每张图片的生成参数"),
    "png_info_fields": ("Take from PNG info", "要读取的参数"),
    "png_info_dir": ("PNG info directory", "参数图片文件夹"),
    "png_info_dir_hint": (
        "Empty = from the pictures themselves",
        "留空 = 从输入图片本身读取",
    ),
    # Canvas
    "canvas_tools": ("Drawing tools", "绘图工具"),
    "canvas_brush": ("Brush (B)", "画笔 (B)"),
    "canvas_eraser": ("Eraser (E)", "橡皮擦 (E)"),
    "canvas_hand": ("Move the view (hold Space)", "移动视图（按住空格）"),
    "canvas_undo": ("Undo (Ctrl+Z)", "撤销 (Ctrl+Z)"),
    "canvas_redo": ("Redo (Ctrl+Y)", "重做 (Ctrl+Y)"),
    "canvas_wipe": ("Clear the drawing", "清除涂抹"),
    "canvas_zoom-in": ("Zoom in (Ctrl+wheel)", "放大（Ctrl+滚轮）"),
    "canvas_zoom-out": ("Zoom out (Ctrl+wheel)", "缩小（Ctrl+滚轮）"),
    "canvas_fit": ("Fit the view (0)", "适合窗口 (0)"),
    "canvas_open": ("Choose a picture", "选择图片"),
    "canvas_remove": ("Remove the picture", "移除图片"),
    "canvas_size": ("Size", "粗细"),
    "canvas_opacity": ("Opacity", "不透明度"),
    "canvas_colour": ("Brush colour", "画笔颜色"),
    "canvas_picture_pane": ("Input picture", "输入图片"),
    "canvas_mask_pane": ("Input picture; paint the mask on it", "输入图片；在上面涂抹蒙版"),
    "canvas_colour_pane": ("Input picture; paint on it", "输入图片；在上面涂鸦"),
    "canvas_drop": (
        "Drop a picture here, paste it, or click to choose one",
        "把图片拖到这里、粘贴，或点击选择",
    ),
    "canvas_drop_draw": (
        "Drop a picture here, paste it, or click to choose one; then paint on it",
        "把图片拖到这里、粘贴，或点击选择，然后在上面涂抹",
    ),
    "canvas_drop_mask": (
        "Drop the mask here: white is repainted, black is kept",
        "把蒙版拖到这里：白色会被重绘，黑色保持不变",
    ),
    "canvas_sending": ("Taking the picture …", "正在读取图片…"),
    "canvas_not_sent": ("The picture could not be sent.", "图片发送失败。"),
    "canvas_gone": (
        "This picture is not kept any more. Choose it again.",
        "这张图片已不在服务器上，请重新选择。",
    ),
    # Results
    "empty": ("Your pictures appear here", "生成的图片会显示在这里"),
    "empty_hint": (
        "Write a prompt and press Generate. You may close the page meanwhile: nothing is lost.",
        "写下提示词，按“生成”。中途关闭页面也没关系，不会丢失任何内容。",
    ),
    "try_one": ("Try one of these", "试试这些"),
    "can_draw": ("{count} things it can draw", "它会画的 {count} 种东西"),
    "no_checkpoint": ("There is no checkpoint yet", "还没有模型"),
    "no_checkpoint_hint": (
        "Put a .safetensors file into this folder, then press the refresh button beside the "
        "checkpoint list:",
        "请把 .safetensors 模型文件放入下面的文件夹，再按模型列表旁的刷新按钮：",
    ),
    "waiting_place": ("Waiting in the queue, place {position}", "排队中，第 {position} 位"),
    "waiting_paused": ("The queue is paused", "队列已暂停"),
    "waiting_worker": (
        "The painting process is starting; this takes a few seconds",
        "绘制进程正在启动，需要几秒钟",
    ),
    "stage_starting": ("Preparing", "准备中"),
    "stage_loading": ("Loading the checkpoint", "正在加载模型"),
    "stage_encoding": ("Reading the prompt", "正在理解提示词"),
    "stage_sampling": ("Painting", "正在绘制"),
    "stage_decoding": ("Developing", "正在解码"),
    "stage_hires": ("Painting the large version", "正在绘制高清版"),
    "stage_upscaling": ("Enlarging", "正在放大"),
    "stage_saving": ("Saving", "正在保存"),
    "stopping": ("Stopping …", "正在停止…"),
    "step_of": ("Step {step}/{steps}", "第 {step}/{steps} 步"),
    "batch_of": ("Batch {batch}/{batches}", "第 {batch}/{batches} 批"),
    "repeating": ("repeats until stopped", "无限生成中"),
    "time_left": ("{time} left", "剩余 {time}"),
    "preview_alt": ("Preview of the picture being painted", "正在绘制的图片预览"),
    "picture_alt": ("Picture {number}", "第 {number} 张图"),
    "enlarge": ("Show large", "放大查看"),
    "earlier": ("Earlier pictures", "之前的图片"),
    "ended_done": ("Done in {time}", "用时 {time}"),
    "ended_cancelled": ("Stopped after {time}", "{time}后停止"),
    "stopped": ("Stopped", "已停止"),
    "stopped_hint": (
        "The job ended before a picture was finished.",
        "任务在图片完成前就结束了。",
    ),
    "failed": ("That did not work", "没有成功"),
    "failed_what_to_do": ("What you can do", "可以这样做"),
    "failed_id": ("Report as", "错误编号"),
    "warning": ("Note", "提示"),
    "cancel": ("Cancel", "取消"),
    "close": ("Close", "关闭"),
    "retry": ("Try again", "重试"),
    "copy": ("Copy", "复制"),
    "open_folder": ("Open the folder of this picture", "打开图片所在文件夹"),
    "save": ("Save a copy of this picture", "保存这张图的副本"),
    "zip": ("All pictures of this job as a zip file", "将本次任务的全部图片打包下载"),
    "send_to_txt2img": ("→ txt2img", "→ 文生图"),
    "send_to_img2img": ("→ img2img", "→ 图生图"),
    "send_to_inpaint": ("→ Inpaint", "→ 局部重绘"),
    "send_to_png_info": ("→ PNG Info", "→ 图片信息"),
    "send_txt2img_long": ("Send the recipe to txt2img", "将参数发送到文生图"),
    "send_img2img_long": ("Send picture and recipe to img2img", "将图片和参数发送到图生图"),
    "send_inpaint_long": ("Send picture and recipe to inpaint", "将图片和参数发送到局部重绘"),
    "send_png_info_long": ("Show this picture in PNG Info", "在“图片信息”中查看这张图"),
    "next_steps": ("Go on from this picture", "以这张图继续"),
    "of_picture": ("{text}, picture {number}", "{text}，第 {number} 张图"),
    "vary_subtle": ("Vary subtle", "微调变化"),
    "vary_subtle_long": (
        "New pictures close to this one: details differ",
        "生成与这张相近的新图：仅细节不同",
    ),
    "vary_strong": ("Vary strong", "大幅变化"),
    "vary_strong_long": (
        "New pictures after this one: colours and rough shapes stay",
        "以这张为底生成新图：保留色彩与大致构图",
    ),
    "upscale": ("Upscale", "放大"),
    "upscale_long": (
        "Paint this picture larger; from txt2img, as Hires. fix is set there",
        "将这张图重绘为更大尺寸；文生图的图片按其高清修复设置处理",
    ),
    "compare": ("Compare with the input picture", "与输入图对比"),
    "compare_slider": ("Before and after: where to cut", "前后对比：分割位置"),
    "before": ("Before", "之前"),
    "after": ("After", "之后"),
    "folder_is": ("The pictures lie in {path}", "图片所在文件夹：{path}"),
    "folder_opened": ("Opened {path}", "已打开 {path}"),
    "saved_to": ("Saved to {path}", "已保存到 {path}"),
    "no_picture": ("There is no picture to use yet.", "还没有可用的图片。"),
    # PNG Info
    "drop_picture": ("Drop a picture here", "把图片拖到这里"),
    "png_info_empty": ("Its recipe appears here.", "图片的生成参数会显示在这里。"),
    "png_info_none": (
        "This picture carries no generation data.",
        "这张图片里没有生成信息。",
    ),
    "png_info_raw": ("As a text to copy", "可复制的文本"),
    "sent": ("Sent to txt2img.", "已发送到文生图。"),
    "sent_img2img": ("Sent to img2img.", "已发送到图生图。"),
    "sent_inpaint": ("Sent to inpaint.", "已发送到局部重绘。"),
    "no_recipe_to_send": (
        "This picture carries no generation data to send. Send it to img2img instead.",
        "这张图片没有可发送的生成信息，可以改为发送到图生图。",
    ),
    # Queue
    "queue_running": ("Running and waiting", "进行中与等待中"),
    "queue_finished": ("Recently finished", "最近完成"),
    "queue_empty": ("Nothing is waiting.", "队列是空的。"),
    "queue_empty_hint": (
        "Every press of Generate puts a job here. Jobs survive a closed page and a restart.",
        "每次按“生成”都会在这里添加一个任务；关闭页面或重启程序都不会丢失。",
    ),
    "queue_pause": ("Pause queue", "暂停队列"),
    "queue_resume": ("Resume queue", "继续队列"),
    "queue_paused_note": (
        "The queue is paused: the running job finishes, waiting ones stay.",
        "队列已暂停：正在运行的任务会完成，等待的任务保持不动。",
    ),
    "queue_up": ("Move up", "上移"),
    "queue_down": ("Move down", "下移"),
    "queue_top": ("Move to the top", "移到最前"),
    "state_running": ("running", "进行中"),
    "state_queued": ("waiting", "等待中"),
    "state_done": ("done", "完成"),
    "state_failed": ("failed", "失败"),
    "state_cancelled": ("cancelled", "已取消"),
    "who_page": ("other", "他人"),
    "who_api": ("API", "API"),
    "who_you": ("you", "我"),
    "job_of_another": ("Another person's job", "其他人的任务"),
    "job_of_api": ("A job over the API", "通过 API 提交的任务"),
    "repeats": ("repeats until cancelled", "不断重复直到取消"),
    "no_prompt": ("(no prompt)", "（无提示词）"),
    "n_pictures": ("{count} pictures", "{count} 张"),
    "n_steps": ("{steps} steps", "{steps} 步"),
    # Settings
    "group_saving": ("Saving images", "图片保存"),
    "group_paths": ("Folders", "文件夹"),
    "group_preview": ("Live previews", "实时预览"),
    "group_prompt": ("Prompts and networks", "提示词与附加网络"),
    "group_sampler": ("Sampler parameters", "采样器参数"),
    "group_compat": ("Compatibility", "兼容性"),
    "group_img2img": ("img2img", "图生图"),
    "group_upscale": ("Upscaling and faces", "放大与人脸"),
    "group_infotext": ("Infotext", "生成信息"),
    "group_api": ("API", "API"),
    "group_system": ("System", "系统"),
    "logout": ("Log out", "退出登录"),
    # Failures of the page itself
    "owner_only": (
        "Guests paint and look at their own pictures; this is for the owner alone.",
        "访客只能作画并查看自己的图片，此操作仅限主人。",
    ),
    "unexpected": (
        "Something unexpected went wrong on the server (report id {id}).",
        "服务器发生了意外错误（编号 {id}）。",
    ),
    "offline": (
        "The program does not answer. Waiting for it …",
        "程序没有响应，正在等待重新连接…",
    ),
    "page_renewed": ("The page has new parts. Reloading …", "页面有新内容，正在刷新…"),
    "restarted": ("The program was restarted. Reloading …", "程序已重新启动，正在刷新页面…"),
}


SAID_ONLY = TRAIN_TEXTS
"""Texts that no component has: ``say`` knows them, the browser never gets the table."""


def _column(index: int) -> dict[str, str]:
    return {key: texts[index] for key, texts in TEXTS.items()}


I18N = gr.I18n(**{"en": _column(0), "zh": _column(1), "zh-CN": _column(1), "zh-TW": _column(1)})


def add_text(key: str, english: str, chinese: str) -> None:
    """Add a text that is known only now, for pages that are opened later."""
    TEXTS[key] = english, chinese
    for language, table in I18N.translations.items():
        table[key] = TEXTS[key][0 if language == "en" else 1]


def label(key: str) -> I18nData:
    """A text for a component; the browser chooses the language.

    Raises:
        KeyError: No text has that key.
    """
    TEXTS[key]
    return I18N(key)


def named(values: Iterable[str]) -> list[tuple[I18nData | str, str]]:
    """Entries of a menu: a value stays what recipes say, the browser chooses how it is called."""
    found = ((f"{VALUE_PREFIX}{value}", value) for value in values)
    return [(label(key) if key in TEXTS else value, value) for key, value in found]


def value_name(value: object, language: str) -> str:
    """What a value of a menu is called in a language; itself where it has no name there."""
    english, chinese = VALUE_TEXTS.get(f"{VALUE_PREFIX}{value}", (str(value), str(value)))
    return chinese if language == CHINESE else english


def say(key: str, language: str, **values: object) -> str:
    """A text in one language, its ``{names}`` filled in.

    Raises:
        KeyError: No text has that key, or a named value is missing.
    """
    texts = TEXTS.get(key) or SAID_ONLY[key]
    text = texts[1 if language == CHINESE else 0]
    return text.format(**values) if values else text


LANGUAGE_COOKIE = "danqing-language"
"""Holds what a person chose on the page (assets/texts.js)."""


def language_of(request: gr.Request | HTTPConnection | None) -> str:
    """The language chosen on the page, else the one a browser asks for first; English unless it
    is Chinese."""
    if request is None:
        return ENGLISH
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    if chosen in (ENGLISH, CHINESE):
        return chosen
    header = request.headers.get("accept-language", "")
    return CHINESE if header.strip().lower().startswith("zh") else ENGLISH
