"""The texts of extensions' blocks, English and Chinese; part of ``texts.TEXTS``."""

from __future__ import annotations

from webui.extensions.a1111.fences import REASON_OF_TIER_4

EXTENSION_TEXTS: dict[str, tuple[str, str]] = {
    "ext_unread": ("The extensions could not be read.", "无法读取扩展。"),
    "ext_refresh": ("Refresh extensions", "刷新扩展"),
    "ext_refresh_hint": (
        "Look for extensions that were put in, changed or removed",
        "查找新放入、已更改或已移除的扩展",
    ),
    "ext_no_file": ("None", "无"),
    "ext_choose_picture": ("Choose a picture…", "选择图片…"),
    "ext_no_picture": ("No picture", "不用图片"),
    "ext_tab_installed": ("Installed", "已安装"),
    "ext_tab_available": ("Available", "可安装"),
    "ext_tab_install": ("Install", "安装"),
    "ext_tab_backups": ("Backups", "备份"),
    "ext_search": ("Search", "搜索"),
    "ext_none": ("No extension is installed.", "尚未安装任何扩展。"),
    "ext_none_found": ("Nothing matches.", "没有匹配的扩展。"),
    "ext_off_here": (
        "Other machines, or pages of other sites, reach this server, so extensions cannot be "
        "installed, updated or removed here. Do it on the machine itself, or start the program "
        "with --enable-insecure-extension-access.",
        "其他机器或其他网站的页面可以访问此服务器，因此不能在这里安装、更新或移除扩展。"
        "请在本机操作，或用 --enable-insecure-extension-access 启动程序。",
    ),
    "ext_state_on": ("on", "已启用"),
    "ext_state_off": ("off", "已停用"),
    "ext_state_broken": ("cannot be loaded", "无法加载"),
    "ext_state_left": ("left out", "已排除"),
    "ext_kind_folder": ("folder", "文件夹"),
    "ext_kind_file": ("single file", "单个文件"),
    "ext_kind_a1111": ("for A1111", "A1111 扩展"),
    "ext_built_in": ("came along", "自带"),
    "ext_loaded_in": ("loaded in {ms} ms", "加载用时 {ms} 毫秒"),
    "ext_runs_web": ("page process", "页面进程"),
    "ext_runs_both": ("page and model process", "页面进程和模型进程"),
    "ext_enable": ("Use {name}", "启用 {name}"),
    "ext_troubles": ("What went wrong ({count})", "出错记录（{count}）"),
    "ext_in_log": ("{moment}, log number {id}", "{moment}，日志编号 {id}"),
    "ext_settings": ("Settings", "设置"),
    "ext_save": ("Save", "保存"),
    "ext_saved": ("Saved.", "已保存。"),
    "ext_update": ("Look for update", "检查更新"),
    "ext_newest": ("{name} is the newest version.", "{name} 已是最新版本。"),
    "ext_check": ("Check all for updates", "检查全部更新"),
    "ext_check_some": ("{count} have a newer version.", "{count} 个扩展有新版本。"),
    "ext_check_none": ("All are the newest versions.", "全部都是最新版本。"),
    "ext_check_failed": (
        "{count} could not be asked; see there.",
        "{count} 个无法检查，原因见各扩展。",
    ),
    "ext_is_newer": ("newer version", "有新版本"),
    "ext_back": ("Version before", "恢复上一版本"),
    "ext_back_sure": (
        "Put the version of {name} before this one into its place? This one is kept.",
        "将 {name} 恢复到上一版本？当前版本会保留。",
    ),
    "ext_backed": ("{name} is at its other version.", "{name} 已切换到另一版本。"),
    "ext_remove": ("Remove", "移除"),
    "ext_remove_sure": (
        "Remove {name}? Its folder is moved to the trash beside the extensions, not deleted.",
        "移除 {name}？其文件夹会移到扩展目录的回收站（.trash），不会删除。",
    ),
    "ext_removed": (
        "It lies in {path} from now on; «Backups» puts it back.",
        "已移到 {path}；可在“备份”中恢复。",
    ),
    "ext_trash": ("Removed", "已移除"),
    "ext_trash_none": ("Nothing was removed.", "没有移除过扩展。"),
    "ext_restore": ("Restore", "恢复"),
    "ext_restored": ("{name} is back.", "{name} 已恢复。"),
    "ext_delete": ("Delete", "删除"),
    "ext_delete_sure": ("Delete {name} for good?", "彻底删除 {name}？"),
    "ext_states": ("Saved states", "已保存的状态"),
    "ext_states_hint": (
        "A state holds which extensions are on and at which version each stands, as A1111's "
        "config_states do.",
        "状态记录哪些扩展已启用、各处于哪个版本，格式与 A1111 的 config_states 相同。",
    ),
    "ext_states_name": ("Name", "名称"),
    "ext_states_save": ("Save this state", "保存当前状态"),
    "ext_states_compare": ("Compare", "比较"),
    "ext_states_same": ("Everything is as it was.", "与当前状态相同。"),
    "ext_states_gone": ("is not here", "未安装"),
    "ext_states_on": ("was on", "当时已启用"),
    "ext_states_off": ("was off", "当时已停用"),
    "ext_states_commit": ("was at {then}, is at {now}", "当时为 {then}，现在为 {now}"),
    "ext_states_version": ("Look at that version", "查看该版本"),
    "ext_states_switch": ("Switch on and off as it was", "恢复启用状态"),
    "ext_states_switched": ("Switched as in «{name}».", "已按“{name}”切换。"),
    "ext_url": ("Address of a git repository or a zip file", "git 仓库或 zip 文件的地址"),
    "ext_branch": ("Branch (empty = the usual one)", "分支（留空为默认分支）"),
    "ext_folder": ("Folder name (empty = as the address ends)", "文件夹名（留空则取自地址）"),
    "ext_fetch": ("Fetch and look at it", "获取并查看"),
    "ext_zip": ("Choose a zip file…", "选择 zip 文件…"),
    "ext_trust": (
        "Extensions run as the program does and can do whatever you can. Install only what you "
        "trust.",
        "扩展以本程序的权限运行，可以做您能做的任何事。请只安装信任的扩展。",
    ),
    "ext_working": ("Working: {what}", "正在处理：{what}"),
    "ext_stop": ("Stop", "停止"),
    "ext_put_in": ("Install", "安装"),
    "ext_put_update": ("Update", "更新"),
    "ext_put_without": ("Without its packages", "不安装依赖包"),
    "ext_discard": ("Throw away", "放弃"),
    "ext_done": ("{name} is installed.", "{name} 已安装。"),
    "ext_done_update": ("{name} was updated.", "{name} 已更新。"),
    "ext_look": ("To be installed: {name}", "待安装：{name}"),
    "ext_look_packages": ("Packages for {name}", "{name} 的依赖包"),
    "ext_packages": ("Install its packages…", "安装依赖包…"),
    "ext_look_update": ("To be updated: {name}", "待更新：{name}"),
    "ext_changes": ("Changes ({count})", "更改（{count}）"),
    "ext_changes_back": ("Changes that are taken back ({count})", "将撤销的更改（{count}）"),
    "ext_changes_more": ("… and {count} earlier ones", "……以及更早的 {count} 项"),
    "ext_submodules": (
        "Parts of it lie in repositories of their own (submodules), which are not fetched; it may "
        "not work without them.",
        "它的一部分位于其他仓库（子模块），不会获取；缺少它们可能无法工作。",
    ),
    "ext_packages_none": ("It needs no further packages.", "不需要额外的依赖包。"),
    "ext_packages_new": (
        "Python packages that would come into its own folder (the program's stay as they are):",
        "将安装到该扩展自己目录中的 Python 依赖包（不影响程序自身的包）：",
    ),
    "ext_packages_bad": ("Its packages do not go with this program:", "它的依赖包与本程序冲突："),
    "ext_script_after": (
        "It has an install.py. Nothing of it runs until you have read it and said so.",
        "它带有 install.py。在您阅读并同意之前不会运行。",
    ),
    "ext_script": ("Read install.py…", "查看 install.py…"),
    "ext_script_run": ("I have read it: run it", "我已阅读，运行"),
    "ext_script_done": ("install.py has ended well.", "install.py 运行成功。"),
    "ext_script_failed": ("install.py has failed.", "install.py 运行失败。"),
    "ext_index": ("Address of the list", "列表地址"),
    "ext_index_hint": (
        "Nothing is asked until you press Load; any list in A1111's form will do.",
        "按下“加载”之前不会联网；任何 A1111 格式的列表都可以。",
    ),
    "ext_load": ("Load", "加载"),
    "ext_sort": ("Order", "排序"),
    "ext_sort_added": ("newest first", "最新添加"),
    "ext_sort_oldest": ("oldest first", "最早添加"),
    "ext_sort_name": ("by name, a–z", "按名称 a–z"),
    "ext_sort_name_back": ("by name, z–a", "按名称 z–a"),
    "ext_sort_created_at": ("latest begun", "最近创建"),
    "ext_sort_as_listed": ("as the list has it", "按列表顺序"),
    "ext_sort_stars": ("most stars", "星标最多"),
    "ext_sort_commit_time": ("latest update", "最近更新"),
    "ext_tag": ("Tag", "标签"),
    "ext_tag_all": ("all", "全部"),
    "ext_hide_installed": ("Hide installed ones", "隐藏已安装的"),
    "ext_hide_tags": ("Hide translations and those with advertising", "隐藏翻译类和带广告的扩展"),
    "ext_is_installed": ("installed", "已安装"),
    "ext_count": ("{shown} of {count}", "{shown} / {count}"),
    "ext_page": ("Page of the extension {name}", "扩展 {name} 的页面"),
}

PROBLEMS_ZH: dict[str, str] = {
    "{0} cannot be read: {1}": "{0} 无法读取：{1}",
    "It was written for version {0} of the extension API; this program has version {1}. Look for "
    "another version of it.": (
        "它是为扩展 API 第 {0} 版编写的，本程序为第 {1} 版。请查找它的其他版本。"
    ),
    "It has neither {0} nor {1}, so there is nothing to load.": (
        "它既没有 {0} 也没有 {1}，无可加载。"
    ),
    "{0} offers {1}; an extension can offer {2}.": "{0} 提供 {1}；扩展可提供的有 {2}。",
    "It is called {0}; a name has small letters, digits, - and _ only. Rename its folder, or give "
    "it a name in {1}.": (
        "它名为 {0}；名称只能含小写字母、数字、- 和 _。请重命名其文件夹，或在 {1} 中命名。"
    ),
    "It needs packages that are not installed: {0}. Install them in the Extensions tab, or into "
    "the program's environment, and press Refresh.": (
        "它需要尚未安装的依赖包：{0}。请在“扩展”标签页中安装，或装入程序的环境，然后按刷新。"
    ),
    "Another extension has its name, {0}: {1}. Remove one of the two.": (
        "另一个扩展与它同名（{0}）：{1}。请移除其中一个。"
    ),
    "{0} is no name of a package with its versions.": "{0} 不是依赖包的名称与版本。",
    "{0} names an address; only packages of the package index are had.": (
        "{0} 是一个地址；只能安装软件包索引中的依赖包。"
    ),
    "It wants {0}{1}; the program has {2}, which stays.": (
        "它需要 {0}{1}；本程序使用 {2}，不会更改。"
    ),
    "{0} is installed as {1}.": "已安装的 {0} 为 {1}。",
    "It could not be loaded.": "无法加载。",
    "the program ended while it was loaded; press Refresh to try it again": (
        "加载它时程序意外结束；按刷新可重试"
    ),
    "It says that it needs {0}, which is not here.": "它声明需要 {0}，但未安装。",
    "{0} has the same name, capitals aside, and was left out.": (
        "{0} 与它同名（不分大小写），已略过。"
    ),
    "It tried to end the program, which was not done.": "它试图结束程序，已被阻止。",
    "it tried to end the program (SystemExit)": "它试图结束程序（SystemExit）",
    "It needs {0}. {1}.": "它需要 {0}。{1}。",
    REASON_OF_TIER_4: (
        "它要更改 A1111 采样器或 U-Net 的内部，而本程序的内部不同；这类扩展的主要用途"
        "（ControlNet、分块、分区）已内置"
    ),
    "It needs {0} of A1111's web UI, which is not here.": "它需要 A1111 WebUI 的 {0}，这里没有。",
    "It needs something of A1111 that is not here: {0}.": "它需要这里没有的 A1111 内容：{0}。",
    "It needs the Python package {0}, which is not installed. Its install.py may bring it; it runs "
    "only when you say so, on the Extensions tab.": (
        "它需要 Python 包 {0}，但未安装。它的 install.py 也许能安装；只有您在“扩展”标签页中"
        "同意后才会运行。"
    ),
    "It waits for on_{0}, which never comes here.": "它在等待 on_{0}，而这里从不调用。",
}
"""What is told of extensions without an error being raised; part of what ``said`` knows."""
