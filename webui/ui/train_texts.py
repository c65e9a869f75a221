"""The texts of the Train tab, English and Chinese.

``TRAIN_LABELS`` are for components and travel to the browser with the page; ``TRAIN_TEXTS`` are
said while the tab is open, so they cost a page nothing that does not open it.
"""

from __future__ import annotations

TRAIN_LABELS: dict[str, tuple[str, str]] = {
    "tab_train": ("Train", "训练"),
    "train_view": ("How much do you want to decide?", "设置方式"),
    "train_simple": ("Simple", "新手"),
    "train_expert": ("Expert", "专家"),
    "train_set": ("Pictures", "训练集"),
    "train_drop": (
        "Photographs, with .txt files of words if you have them, or all in a .zip",
        "照片（可连同 .txt 标签），也可放入 .zip 压缩包",
    ),
    "train_word": ("Name (the trigger word)", "名称（触发词）"),
    "train_word_hint": ("for example: xiaoming", "例如：xiaoming"),
    "train_subject": ("What shall be learnt?", "训练什么？"),
    "train_character": ("A person or character", "人物 / 角色"),
    "train_style": ("A style", "画风"),
    "train_object": ("A thing", "物品"),
    "train_class_set": ("Class pictures (optional)", "正则化图片（可选）"),
    "train_class_hint": (
        "A set of other things of its kind: what the model knows of them stays as it was",
        "同类其他事物的图片集：避免模型遗忘原有概念",
    ),
    "train_memory": ("Memory of the graphics card", "显存"),
    "train_memory_cpu": ("No card (slow)", "无显卡（慢）"),
    "train_memory_6": ("6 GB", "6 GB"),
    "train_memory_8": ("8 GB", "8 GB"),
    "train_memory_12": ("12 GB", "12 GB"),
    "train_memory_24": ("24 GB and more", "24 GB 及以上"),
    "train_checkpoint": ("Base model", "底模"),
    "train_go": ("Train", "开始训练"),
    "train_pause": ("Pause", "暂停"),
    "train_resume": ("Go on", "继续"),
    "train_stop": ("Stop", "终止训练"),
    "train_words_fold": ("Pictures and words", "图片与标签"),
    "train_from_names": ("Words from file names", "由文件名生成标签"),
    "train_look": ("Look the pictures over", "检查数据集"),
    "train_faces": ("Look for faces", "查找人脸"),
    "train_options_fold": ("All options", "全部参数"),
    "train_toml": ("As a file (kohya’s TOML)", "配置文件 (TOML)"),
    "train_toml_apply": ("Use this text", "应用此配置"),
    "train_toml_load": ("Open a .toml", "载入 .toml"),
    "train_reset": ("Back to the preset", "恢复预设"),
}

TRAIN_TEXTS: dict[str, tuple[str, str]] = {
    "train_title": (
        "Teach it a person, a style or a thing from your photographs",
        "用自己的照片训练 LoRA：人物、画风或物品",
    ),
    "train_class_none": ("none", "无"),
    "train_set_none": (
        "Drop some photographs first: 10 to 30 are good.",
        "请先放入照片，10～30 张为宜。",
    ),
    "train_no_pictures": ("There are no pictures to train on yet.", "还没有用于训练的图片。"),
    "train_no_pictures_hint": ("Drop some into the field above.", "请先把图片放入上面的框中。"),
    "train_no_checkpoint": ("There is no checkpoint to train upon.", "没有可用于训练的底模。"),
    "train_no_checkpoint_hint": (
        "Put an SD 1.x or SDXL checkpoint into models/Stable-diffusion.",
        "请把 SD 1.x 或 SDXL 模型放入 models/Stable-diffusion。",
    ),
    "train_word_needed": (
        "Give it a name first: the word that will call it up in prompts.",
        "请先填写名称：以后在提示词中用它来调用。",
    ),
    "train_added": ("{count} pictures were added.", "已添加 {count} 张图片。"),
    "train_waiting": ("The training waits in the queue.", "训练任务已加入队列。"),
    "train_changed": ("{count} captions were changed.", "已修改 {count} 条标签。"),
    "train_unchanged": ("No caption had to be changed.", "没有需要修改的标签。"),
    "train_taken": ("{count} pictures were taken out.", "已移除 {count} 张图片。"),
    "train_take_out": ("Take out", "移除"),
    "train_set_remove": ("Delete these {count} copies", "删除这组图片（{count} 张副本）"),
    "train_set_remove_sure": ("Yes, with all their words", "确认删除（标签也会删除）"),
    "train_caption_of": ("Words of {name}", "{name} 的标签"),
    "train_no_words": ("no words yet", "尚无标签"),
    "train_more_pictures": ("and {count} more pictures", "以及另外 {count} 张图片"),
    # Foretold
    "plan_steps": ("{steps} steps", "{steps} 步"),
    "plan_epochs": (
        "{epochs} epochs of {per_epoch} steps; {count} pictures each, with repeats",
        "{epochs} 轮，每轮 {per_epoch} 步、{count} 张图片（含重复）",
    ),
    "plan_time": ("about {time}", "约 {time}"),
    "plan_time_range": (
        "most likely {low} to {high}, going by {source}",
        "大约 {low} 至 {high}（依据：{source}）",
    ),
    "plan_time_unknown": ("time: known after the first steps", "时间：开始几步后才知道"),
    "plan_time_unknown_why": (
        "Nothing was painted or trained here yet, and the model process is not free to measure the "
        "machine. Look again in a moment.",
        "本机还没有出图或训练的记录，模型进程也暂时没空测速。请稍后再看。",
    ),
    "plan_from_device": (
        "a short measurement of this machine; very rough until something was trained here",
        "本机的快速测速；在本机训练过之前非常粗略",
    ),
    "plan_from_trainings": ("earlier trainings here", "本机以往的训练"),
    "plan_from_pictures": (
        "pictures painted here, so it is a rough guess",
        "本机出图速度，较为粗略",
    ),
    "plan_memory": ("about {size} of memory", "内存约 {size}"),
    "plan_memory_vram": ("about {size} of video memory", "显存约 {size}"),
    "plan_memory_parts": (
        "model {weights}, LoRA {lora}, pictures at work {activations}, program {program}; {sure}",
        "模型 {weights}、LoRA {lora}、计算过程 {activations}、程序 {program}；{sure}",
    ),
    "plan_memory_compared": (
        "reckoned; one training of SD 1.5 was measured, 5 % below this reckoning",
        "推算值；与一次 SD 1.5 实测相比，推算偏高 5 %",
    ),
    "plan_memory_not_compared": (
        "reckoned; never compared with a measurement on such a card or model",
        "推算值；从未与这类显卡或模型的实测比较过",
    ),
    "plan_file": ("file of {size}", "文件 {size}"),
    "plan_slow": (
        "Without a graphics card this takes long: hours for full-size models.",
        "没有显卡时训练很慢：完整大小的模型需要数小时。",
    ),
    "plan_device": ("on {device}", "设备：{device}"),
    "plan_problem": ("Before it can start", "开始之前需要解决"),
    "seconds_n": ("{n} s", "{n} 秒"),
    "minutes_n": ("{n} min", "{n} 分钟"),
    "hours_n": ("{n} h", "{n} 小时"),
    # The doctor
    "doctor_buckets": ("Sizes they are trained at (with repeats)", "分桶（含重复次数）"),
    "doctor_tags": ("Tags", "标签统计"),
    "doctor_uses": ("How the first may come: cut and words", "训练时的样子（裁剪与标签）"),
    "doctor_wordless": ("without words", "无标签"),
    "doctor_good": ("Nothing to complain about.", "没有发现问题。"),
    "doctor_looked": ("{count} pictures looked over", "已检查 {count} 张图片"),
    "mark_blurred": ("blurred", "模糊"),
    "mark_enlarged": ("small", "过小"),
    "mark_copy": ("same as {name}", "与 {name} 重复"),
    "mark_no_caption": ("no words", "无标签"),
    "mark_odd_caption": ("odd words", "标签可疑"),
    "mark_long_caption": ("long", "标签过长"),
    "mark_broken": ("broken", "损坏"),
    "tick_blurred": ("Tick blurred ones", "勾选模糊的"),
    "tick_enlarged": ("Tick small ones", "勾选过小的"),
    "tick_copy": ("Tick copies", "勾选重复的"),
    "tick_no_caption": ("Tick those without words", "勾选无标签的"),
    "tick_odd_caption": ("Tick odd words", "勾选标签可疑的"),
    "tick_long_caption": ("Tick long ones", "勾选标签过长的"),
    "chosen_all": ("Tick all {count}", "全选（{count} 张）"),
    "chosen_none": ("none", "取消勾选"),
    "chosen_count": ("{count} ticked", "已勾选 {count} 张"),
    "chosen_one": ("Tick {name}", "勾选 {name}"),
    "chosen_take_out": ("Take the ticked ones out", "移除勾选的图片"),
    "train_repeats": (
        "Each picture comes {repeats} times an epoch, as the folder says.",
        "已按文件夹名把每轮重复次数设为 {repeats}。",
    ),
    "train_repeats_differ": (
        "The folders ask for different repeats ({repeats}); here all pictures of a set have the "
        "same. The option “repeats” sets it.",
        "各文件夹的重复次数不同（{repeats}），而一个训练集只有一个：可在参数 repeats 中设置。",
    ),
    # Words
    "describe_title": ("Words by looking at the pictures", "按画面自动打标"),
    "describe_by": ("By", "打标模型"),
    "describe_tagger": ("tags", "标签"),
    "describe_captioner": ("a sentence", "一句描述"),
    "describe_rule": ("Words that are there", "已有标签"),
    "describe_rule_missing": ("stay; only empty ones are filled", "保留，只填写空白的"),
    "describe_rule_before": ("stay, new ones come before them", "保留，新标签放在前面"),
    "describe_rule_replace": ("are replaced", "覆盖"),
    "describe_threshold": ("Tags surer than", "置信度不低于"),
    "describe_prefix": ("the name comes first", "触发词放在最前"),
    "describe_go": ("Describe", "开始打标"),
    "describe_at_work": ("Describing: {done} of {count} pictures", "正在打标：{done}/{count}"),
    "describe_stop": ("Stop", "停止"),
    "describe_done": ("{count} captions were written.", "已写入 {count} 条标签。"),
    "describe_missing": (
        "For tags, put model.onnx and selected_tags.csv of a WD tagger (such as "
        "wd-swinv2-tagger-v3) into a folder of their own in models/taggers. For sentences, put "
        "config.json, tokenizer.json and model.safetensors of BLIP (blip-image-captioning-base) "
        "into a folder of their own in models/BLIP. Until then words come from file names.",
        "需要标签：把 WD 打标模型（如 wd-swinv2-tagger-v3）的 model.onnx 和 selected_tags.csv "
        "放入 models/taggers 下的单独文件夹。需要描述句：把 BLIP（blip-image-captioning-base）的 "
        "config.json、tokenizer.json、model.safetensors 放入 models/BLIP 下的单独文件夹。"
        "在此之前可由文件名生成标签。",
    ),
    "tags_title": (
        "Tags of all pictures, or of those you tick",
        "修改全部图片（或勾选的图片）的标签",
    ),
    "tags_hint": ("tag, another tag", "标签一, 标签二"),
    "tags_add": ("Add", "添加"),
    "tags_remove": ("Remove", "删除"),
    "tags_replace": ("Replace", "替换"),
    "tags_by": ("by", "替换为"),
    "tags_go": ("Change", "批量修改"),
    "captioning": ("Describing {count} pictures", "为 {count} 张图片打标"),
    "interrogating": ("Describing a picture", "描述一张图片"),
    # Faces
    "faces_looking": ("Looking for faces in {count} pictures", "在 {count} 张图片中查找人脸"),
    "faces_found": (
        "{done} of {count} pictures show one face, near the middle and large enough.",
        "{count} 张图片中有 {done} 张只有一张脸，位置居中、大小合适。",
    ),
    "faces_none": ("no face", "没有人脸"),
    "faces_several": ("several faces", "多张人脸"),
    "faces_far": ("far away", "人脸太小"),
    "faces_off_centre": ("at the edge", "人脸偏离中心"),
    "faces_cut": ("Cut to the face", "裁剪到人脸"),
    "faces_cut_all": (
        "Cut these {count} copies to the largest face",
        "将这 {count} 张副本裁剪到最大的人脸",
    ),
    "faces_missing": (
        "Looking for faces needs a face detector. Get CenterFace (7 MB) in the Models tab, or put "
        "face_detection_yunet_2023mar.onnx into models/facedetection.",
        "查找人脸需要人脸检测模型。可在“模型”页获取 CenterFace（7 MB），或将 "
        "face_detection_yunet_2023mar.onnx 放入 models/facedetection。",
    ),
    # Options
    "options_search": ("Search options", "搜索参数"),
    "options_default": ("default: {value}", "默认：{value}"),
    "options_none": ("not set", "未设置"),
    "toml_save": ("Save as a file", "保存为文件"),
    "toml_used": ("The options were taken over.", "配置已应用。"),
    "section_model": ("Model", "模型"),
    "section_data": ("Pictures and captions", "数据集与标签"),
    "section_network": ("Network", "网络设置"),
    "section_training": ("Training and rates", "训练与学习率"),
    "section_noise_and_loss": ("Noise and loss", "噪声与损失"),
    "section_device": ("Speed and memory", "速度优化"),
    "section_saving": ("Saving", "保存设置"),
    "section_samples_and_log": ("Preview pictures and log", "预览图与日志"),
    # While it runs
    "run_empty": ("Trainings appear here", "训练会显示在这里"),
    "run_empty_hint": (
        "Drop photographs, give them a name, press Train. While it learns you see its progress and "
        "sample pictures; in the end you choose the best epoch, and it becomes a card under LoRA.",
        "放入照片、填写名称、点“开始训练”。训练时可以看到进度和预览图，结束后挑选最好的一轮，"
        "它就会成为 LoRA 卡片。",
    ),
    "run_queued": ("waits in the queue, place {position}", "排队中，第 {position} 位"),
    "run_paused": ("paused; it goes on from step {step}", "已暂停，将从第 {step} 步继续"),
    "run_done": ("done: {steps} steps", "已完成：{steps} 步"),
    "run_stopped": ("stopped at step {steps}", "已终止于第 {steps} 步"),
    "run_step": ("step {step} of {steps}", "第 {step}/{steps} 步"),
    "run_epoch": ("epoch {epoch} of {epochs}", "第 {epoch}/{epochs} 轮"),
    "epoch_n": ("epoch {n}", "第 {n} 轮"),
    "run_left": ("{time} left", "剩余 {time}"),
    "run_speed": ("{speed} steps/s", "{speed} 步/秒"),
    "run_speed_slow": ("{speed} s per step", "{speed} 秒/步"),
    "run_loss": ("loss {loss}", "loss {loss}"),
    "run_rate": ("rate {rate}", "学习率 {rate}"),
    "run_memory": ("memory {size}", "内存 {size}"),
    "run_chart": (
        "Loss by step: thin = each step, thick = mean over an epoch",
        "Loss 曲线：细线为每步，粗线为一轮的平均",
    ),
    "run_validation": ("held-out pictures", "验证集"),
    "run_samples": ("Sample pictures by epoch and prompt", "预览图（按轮次与提示词）"),
    "run_sample": ("Paint samples now", "立即出预览图"),
    "run_sample_asked": (
        "Sample pictures are painted after the present step.",
        "当前这一步完成后会出预览图。",
    ),
    "run_files": ("Choose an epoch", "挑选一轮"),
    "run_use": ("Make it a LoRA card", "加入 LoRA 列表"),
    "run_used": ("“{name}” is now among the LoRAs.", "“{name}”已加入 LoRA 列表。"),
    "run_last": ("the last", "最终"),
    "run_history": ("Earlier trainings", "训练记录"),
    "run_show": ("Show", "查看"),
    "run_go_on": ("Go on from where it stopped", "从停止处继续"),
    "run_again": ("Take over its options", "沿用参数"),
    "run_provenance": (
        "Trained {date} on {checkpoint}: {pictures} pictures, {steps} steps, epoch {epoch}.",
        "训练于 {date}，底模 {checkpoint}：{pictures} 张图片，{steps} 步，第 {epoch} 轮。",
    ),
    "stage_checking": ("Checking", "检查中"),
    "stage_caching latents": ("Encoding pictures", "缓存潜空间"),
    "stage_caching texts": ("Encoding words", "缓存文本编码"),
    "stage_training": ("Training", "训练中"),
    "stage_validating": ("Measuring held-out pictures", "验证中"),
    "stage_saving": ("Saving", "保存中"),
    "training_of": ("Training “{name}”", "训练“{name}”"),
}

NOTICES_ZH: dict[str, str] = {
    "alpha_dropped": (
        "{count} 张图片含透明区域，透明处会露出隐藏的颜色（如 {first}）。可开启 alpha_m"
        "ask 忽略这些区域。"
    ),
    "bucket_adjusted": "{sentence}",
    "bucket_small": (
        "尺寸 {width}×{height} 只有 {count} 张图片，不足一批 {batch_size} 张（如 "
        "{first}），将单独成批。"
    ),
    "caption_dropped_always": (
        "caption_dropout_every_n_epochs 为 1：标签永远不会被使用。请设为 0 或不小于 2。"
    ),
    "caption_empty": "“{file}”是空的，改用“{words}”。",
    "caption_missing": (
        "“{folder}”中 {pictures} 张图片有 {missing} 张没有“{extension}”标签（如 {first}"
        "），将使用“{words}”。"
    ),
    "caption_missing_nothing": (
        "“{folder}”中 {pictures} 张图片有 {missing} 张没有“{extension}”标签（如 {first}"
        "），文件夹名也没有文字：将不带标签训练。"
    ),
    "caption_other_extension": (
        "caption_extension“{extension}”对吗？“{folder}”中有 {count} 个“{other}”文件。"
    ),
    "custom_attributes": (
        "这里不使用「{folder}」的 custom_attributes（{names}）：请把要学习的内容写进标签。"
    ),
    "dataset_config_wins": "使用 dataset_config，因此忽略 {names}。",
    "face_name_missing": "{count} 张图片的文件名中没有人脸位置（如 {first}），改为居中裁剪。",
    "folder_is_subset": "“{folder}”直接存放图片，作为一个概念使用，重复 {repeats} 次。",
    "folder_loose": (
        "“{folder}”下直接存放的 {count} 张图片不会被使用：只使用形如“10_mychar”的子文件夹。"
    ),
    "folder_skipped": "“{folder}”中的 {names} 不会被使用：文件夹名不是以重复次数和“_”开头。",
    "folder_twice": "文件夹“{folder}”出现两次，第二次不使用。",
    "keep_tokens_all": "keep_tokens 为 {keep_tokens}，多数标签不超过这个数量：实际上没有打乱。",
    "latents_of_another_program": (
        "{count} 个潜空间缓存来自图片旁其他程序的文件；如果当时用的 VAE 不同，请删除这些 .npz。"
    ),
    "picture_broken": "“{file}”无法读取（{reason}），已略过。",
    "pictures_blurred": (
        "{count} 张图片看起来失焦（如 {first}）。LoRA 会连模糊一起学，能舍弃的尽量舍弃。"
    ),
    "pictures_copy": (
        "{count} 张图片与其他图片相同或几乎相同（如 {first}），会被重复学习；如非有意请移除。"
    ),
    "pictures_enlarged": "{count} 张图片远小于训练尺寸（如 {first}），放大后会发虚。",
    "pictures_few": "只有 {count} 张图片，偏少。10～30 张各不相同的图片效果好得多。",
    "pictures_long_caption": (
        "{count} 条标签很长（如 {first}）；超过 75 个 token 的部分需要把 max_token_leng"
        "th 设为 150 或 225。"
    ),
    "pictures_odd_caption": "{count} 条标签看起来有误：含括号、重复标签或没有文字（如 {first}）。",
    "reg_doubles": "加入 {count} 张正则化图片（含重复），每轮步数变为 {times} 倍。",
    "reg_unused": "{count} 张正则化图片中有 {unused} 张用不到：数量超过需要。",
    "steps_short": (
        "这次训练只有 {steps} 步。人物、角色一般需要 1000～2000 步：可增加重复次数或轮数。"
    ),
}
"""``training.notices.SENTENCES`` in Chinese."""
