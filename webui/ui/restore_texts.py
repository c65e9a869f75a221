"""The texts of the Restore tab, English and Chinese; part of ``texts.TEXTS``."""

from __future__ import annotations

RESTORE_TEXTS: dict[str, tuple[str, str]] = {
    "tab_restore": ("Restore", "修复"),
    "restore_title": (
        "Make an old or blurred photograph clear again",
        "让旧照片、模糊的照片重新清晰",
    ),
    "restore_drop": (
        "Drop one or several photographs here, or a video, or click to choose",
        "把一张或多张照片（或一段视频）拖到这里，或点击选择",
    ),
    "restore_clear": ("Take the files away", "移除这些文件"),
    "restore_what": ("What shall become clear?", "要修复什么？"),
    "restore_both": ("Faces and picture", "人脸和整张图"),
    "restore_faces": ("Only the faces", "只修复人脸"),
    "restore_whole": ("Only the picture", "只放大图片"),
    "restore_scale": ("Size of the result", "结果的尺寸"),
    "restore_scale_1": ("Same size", "原尺寸"),
    "restore_scale_2": ("2 times larger", "放大 2 倍"),
    "restore_scale_4": ("4 times larger", "放大 4 倍"),
    "restore_go": ("Restore", "开始修复"),
    "restore_source": ("Photographs", "照片来源"),
    "restore_empty": ("The restored photograph appears here", "修复后的照片会显示在这里"),
    "restore_empty_hint": (
        "Drop a photograph – of your grandmother, say – and press Restore. The original stays "
        "as it is; you get a new picture and can compare both.",
        "放入一张照片（例如祖母的老照片），按“开始修复”。原照片不会被改动，"
        "会得到一张新图，并可以前后对比。",
    ),
    "restore_no_files": ("There is no photograph yet.", "还没有照片。"),
    "restore_no_files_hint": ("Drop one into the field above.", "请先把照片放入上面的框中。"),
    "restore_nothing": (
        "Nothing is to be done: every way of restoring faces is set to 0.",
        "没有可做的事：所有人脸修复的强度都是 0。",
    ),
    "restore_nothing_hint": (
        "Raise one under “All settings”, or choose “Only the picture”.",
        "请在“全部设置”中调高其中一个，或选择“只放大图片”。",
    ),
    "restore_no_upscaler": (
        "No upscaler is called “{name}”.",
        "没有名为“{name}”的放大算法。",
    ),
    "restore_no_upscaler_hint": (
        "Choose another under “All settings”.",
        "请在“全部设置”中另选一个。",
    ),
    # What will be done, and what is missing for it
    "plan_faces": ("Faces: {names}", "人脸：{names}"),
    "plan_upscaler": ("Picture: {name}", "图片：{name}"),
    "plan_faces_stay": ("Faces stay as they are", "人脸保持不变"),
    "plan_picture_stays": ("The rest of the picture stays as it is", "图片其余部分保持不变"),
    "needs_title": ("Something is missing for this", "还缺少一些文件"),
    "needs_better": ("It could be clearer", "还可以更清晰"),
    "needs_lanczos": (
        "Without {name} the picture is enlarged smoothly (Lanczos), which adds no detail.",
        "没有 {name} 时，图片只会被平滑放大 (Lanczos)，不会增加细节。",
    ),
    "needs_get": ("Get them ({size} MB)", "获取所需文件（{size} MB）"),
    "needs_getting": ("Getting them …", "正在获取……"),
    "needs_wheel": (
        "The button gets it through pip, from the package index that is set up on this machine.",
        "按下面的按钮即可通过 pip 从本机设置的软件源获取。",
    ),
    "needs_download": ("Download it", "下载"),
    "needs_downloading": (
        "It is being downloaded: see the Models tab. Press “Look again” when it is done.",
        "正在下载，进度见“模型”页。完成后请按“重新查找”。",
    ),
    "needs_by_hand": (
        "Get this file and put it into the folder, then press “Look again”:",
        "请下载这个文件放入下面的文件夹，然后按“重新查找”：",
    ),
    "needs_again": ("Look again", "重新查找"),
    "needs_licence": ("Licence: {licence}", "许可：{licence}"),
    "kind_face": ("restores faces", "修复人脸"),
    "kind_face-detector": ("finds faces", "查找人脸"),
    "kind_upscaler": ("enlarges pictures", "放大图片"),
    # Videos
    "video_frames": ("{frames} frames", "{frames} 帧"),
    "video_note": (
        "Every frame is restored by itself; sound and frame rate stay. Faces may flicker a little.",
        "逐帧修复，声音和帧率不变。人脸可能会有轻微闪烁。",
    ),
    "video_long": (
        "This is long: without a graphics card it can take hours. You may interrupt at any time; "
        "what is finished then is a video that plays.",
        "这段视频较长：没有显卡时可能需要数小时。可以随时中断，已完成的部分会成为可播放的视频。",
    ),
    "video_needs": ("A video needs {names}", "处理视频需要 {names}"),
    "video_needs_hint": (
        "This machine does not have it. Install it (it is free), then press “Look again”; if "
        "that does not find it, start this program anew.",
        "本机没有安装。请先安装（免费），再按“重新查找”；如果仍找不到，请重新启动本程序。",
    ),
    "video_part": ("first part", "前一部分"),
    "video_download": ("Download", "下载"),
    "video_gone": (
        "This video is no longer where it was written: moved or deleted.",
        "这段视频已不在原处：被移动或删除了。",
    ),
    "video_earlier": ("Earlier videos", "之前的视频"),
    "video_of": ("Video “{name}”", "视频“{name}”"),
    # All settings
    "restore_all": ("All settings", "全部设置"),
    "restore_group_size": ("Size", "尺寸"),
    "restore_group_faces": ("Faces", "人脸"),
    "restore_group_photo": ("Old photographs", "老照片"),
    "restore_resize_mode": ("Resize", "缩放方式"),
    "restore_by": ("by a factor", "按倍数"),
    "restore_to": ("to a size", "到指定尺寸"),
    "upscaling_resize": ("Factor", "倍数"),
    "upscaling_crop": ("Crop to fit", "裁剪以适应"),
    "max_side": ("Longer side at most, pixels (0 = no limit)", "长边上限，像素（0 = 不限）"),
    "upscaler_1": ("Upscaler 1", "放大算法 1"),
    "upscaler_2": ("Upscaler 2", "放大算法 2"),
    "upscaler_automatic": ("Automatic (the best that is here)", "自动（本机最好的）"),
    "extras_upscaler_2_visibility": ("Upscaler 2 visibility", "放大算法 2 可见度"),
    "upscaler_denoising": (
        "R-ESRGAN General: denoising",
        "R-ESRGAN General：降噪强度",
    ),
    "gfpgan_visibility": ("GFPGAN visibility", "GFPGAN 可见度"),
    "gfpgan_model": ("GFPGAN version", "GFPGAN 版本"),
    "gfpgan_newest": ("The newest that is here", "本机最新的"),
    "restoreformer_visibility": ("RestoreFormer visibility", "RestoreFormer 可见度"),
    "codeformer_visibility": ("CodeFormer visibility", "CodeFormer 可见度"),
    "codeformer_weight": ("CodeFormer weight", "CodeFormer 权重"),
    "codeformer_weight_info": (
        "0 = strongest effect, 1 = closest to the photograph",
        "0 = 效果最强，1 = 最忠实于原照片",
    ),
    "codeformer_licence": (
        "CodeFormer’s weights may not be used commercially (S-Lab License 1.0).",
        "CodeFormer 的权重不可用于商业用途 (S-Lab License 1.0)。",
    ),
    "only_centre_face": ("Only the face nearest to the middle", "只修复最靠近中央的人脸"),
    "is_aligned": ("The picture is one cropped face already", "图片本身就是裁好的一张脸"),
    "all_directions": (
        "Look for lying and upside-down faces, too",
        "也查找横着和倒着的人脸",
    ),
    "upscale_first": ("Enlarge first, then restore faces", "先放大，再修复人脸"),
    "colour_repair": ("Repair fading and colour cast", "修复褪色与偏色"),
    "scratch_repair": (
        "Repair scratches (experimental: may take fine lines for scratches)",
        "修复划痕（实验性：可能把细线误认为划痕）",
    ),
    "scratch_draw": (
        "Or draw over the scratches of a single photograph: only what you cover is filled from "
        "around it.",
        "也可以在单张照片上涂抹划痕：只有涂到的地方会用周围的内容填补。",
    ),
    "scratch_of_another": (
        "The scratches were drawn over another picture than the one to restore.",
        "划痕画在另一张图片上，与要修复的照片不同。",
    ),
    "scratch_of_another_hint": (
        "Empty that canvas under “All settings”, or put the photograph in once more.",
        "请在“全部设置”中清空画布，或重新放入照片。",
    ),
    "keep_grey": ("Black-and-white stays black-and-white", "黑白照片保持黑白"),
    # While it runs
    "stage_reading": ("Reading the photograph", "正在读取照片"),
    "stage_scratches": ("Repairing scratches", "正在修复划痕"),
    "stage_colours": ("Repairing colours", "正在修复颜色"),
    "stage_finding_faces": ("Looking for faces", "正在查找人脸"),
    "stage_faces": ("Restoring faces", "正在修复人脸"),
    "stage_fetching": ("Getting files", "正在获取文件"),
    "stage_frames": ("Restoring frames", "正在逐帧修复"),
    "stage_joining": ("Joining picture and sound", "正在合并画面与声音"),
    "frame_of": ("frame {step}/{steps}", "第 {step}/{steps} 帧"),
    "part_of": ("part {step}/{steps}", "第 {step}/{steps} 部分"),
    "photograph_of": ("photograph {batch}/{batches}", "第 {batch}/{batches} 张照片"),
    "restoring": ("Photographs", "照片修复"),
    "fetching": ("Getting {names}", "获取 {names}"),
    # Faces
    "faces_title": ("Faces in this photograph", "这张照片中的人脸"),
    "faces_hint": (
        "Restoring invents details that the photograph does not show, and can change a face. "
        "Take the tick off a face that is not like the person any more.",
        "修复会补上照片中没有的细节，可能改变长相。如果某张脸已不像本人，请取消勾选。",
    ),
    "faces_again": ("Apply again without the unticked", "去掉未勾选的人脸，重新修复"),
    "face_number": ("Face {number}", "人脸 {number}"),
    "face_keep": ("Use the restored face", "使用修复后的脸"),
    "face_before": ("Face {number} before", "人脸 {number} 修复前"),
    "face_after": ("Face {number} restored", "人脸 {number} 修复后"),
    "face_same": ("hardly changed", "几乎没变"),
    "face_little": ("changed a little", "略有变化"),
    "face_much": ("changed clearly – compare", "变化明显，请对比"),
    "face_other": ("changed a lot – may look like someone else", "变化很大，可能不像本人"),
    "face_distance": ("{words} ({distance})", "{words}（{distance}）"),
    "faces_unchanged": (
        "Nothing was changed: tick or untick a face first.",
        "没有改动：请先勾选或取消勾选某张脸。",
    ),
    "faces_gone": (
        "This photograph cannot be restored once more: its job is gone.",
        "无法再次修复这张照片：原任务已不存在。",
    ),
    "send_to_restore": ("→ Restore", "→ 修复"),
    "send_restore_long": (
        "Send picture to Restore: faces and enlargement",
        "发送到“修复”：人脸修复与放大",
    ),
    "sent_restore": ("Sent to Restore.", "已发送到“修复”。"),
}
