"""Every sentence of the launcher in Chinese, by its English template (same {fields})."""

from __future__ import annotations

CHINESE = {
    # commands
    "--torch needs a value.": "--torch 后面需要一个值。",
    "For example: --torch cpu": "例如：--torch cpu",
    "COMMANDLINE_ARGS cannot be read: {reason}.": "无法读取 COMMANDLINE_ARGS：{reason}。",
    "Close every quotation mark in it.": "请让其中的引号成对。",
    "\nStopped. Starting again goes on from here.": "\n已停止。再次启动会从这里继续。",
    "The environment is ready. Start the program with: python launch.py": (
        "环境已就绪。启动程序：python launch.py"
    ),
    # environment
    "it is missing": "它不存在",
    "its Python is gone": "其中的 Python 已经不在了",
    "it is not a Python environment": "它不是一个 Python 环境",
    "its Python has changed": "其中的 Python 已被更换",
    "it has no pip": "其中没有 pip",
    "Free some space and start again; it goes on where it stopped.": (
        "请腾出一些空间后再次启动，会从中断处继续。"
    ),
    "Move the project into your home folder, or start it as the user who owns that folder.": (
        "请把项目移到您的用户文件夹，或用该文件夹的所有者启动。"
    ),
    "The packages need about {needed:.0f} GB; the disk that holds {folder} has {free:.1f} GB "
    "free.": "安装约需 {needed:.0f} GB；{folder} 所在磁盘只剩 {free:.1f} GB。",
    "Free some space, or move the project to another disk.": ("请腾出空间，或把项目移到别的磁盘。"),
    "This Python {version} came without its venv module.": "这个 Python {version} 没有 venv 模块。",
    "On Debian and Ubuntu: sudo apt install python{version}-venv. Elsewhere: install Python from "
    "python.org. Then start again.": (
        "Debian 和 Ubuntu：sudo apt install python{version}-venv。"
        "其他系统：从 python.org 安装 Python。然后再次启动。"
    ),
    "Making the environment {folder} failed: {reason}": "创建环境 {folder} 失败：{reason}",
    "Delete that folder and start again.": "请删除该文件夹后再次启动。",
    "requirements/constraints.txt does not name {package}.": (
        "requirements/constraints.txt 中没有 {package}。"
    ),
    "The project's files are damaged; fetch them again.": "项目文件已损坏，请重新获取。",
    "The disk that holds {folder} is full.": "{folder} 所在的磁盘已满。",
    "The folder {folder} cannot be written.": "文件夹 {folder} 无法写入。",
    # install
    "First start: making the program's own environment in .venv (only this once).": (
        "首次启动：正在 .venv 中创建程序自己的环境（只需这一次）。"
    ),
    "Making the environment .venv again, because {reason}.": "重新创建环境 .venv，因为{reason}。",
    "Making the environment .venv again, as asked.": "按要求重新创建环境 .venv。",
    "The last installation was not finished; going on with it.": "上次安装没有完成，现在继续。",
    "The project was moved or copied; adjusting its environment.": (
        "项目被移动或复制过，正在调整它的环境。"
    ),
    "PyTorch {version} for {kind}: {why}.": "PyTorch {version}（{kind}）：{why}。",
    "  {remark}; asking pip's own package index instead.": "  {remark}；改用 pip 自己的软件源。",
    "  That may give the larger CUDA build (3 GB); it works without a card, too.": (
        "  得到的可能是较大的 CUDA 版本（3 GB），没有显卡也能用。"
    ),
    "About {download:g} GB to download and {disk:g} GB on disk; minutes on a good line.": (
        "约需下载 {download:g} GB，占用磁盘 {disk:g} GB；网络好时只需几分钟。"
    ),
    "Ctrl+C stops it at any time; the next start goes on from there.": (
        "随时可按 Ctrl+C 停止，下次启动会继续。"
    ),
    "Installed in {time}.": "安装完成，用时 {time}。",
    "PyTorch was installed but does not load: {reason}": "PyTorch 已安装，但无法加载：{reason}",
    "Start again with --reinstall-torch.": "请加上 --reinstall-torch 再次启动。",
    "Install Microsoft's Visual C++ Redistributable (x64), then start again.": (
        "请安装微软的 Visual C++ Redistributable（x64），然后再次启动。"
    ),
    "PyTorch {version} works.": "PyTorch {version} 工作正常。",
    "  It does not see the graphics card, though, and will use the processor.": (
        "  但它看不到显卡，将使用处理器。"
    ),
    "  Update the card's driver, then: python launch.py --reinstall-torch": (
        "  请更新显卡驱动，然后运行：python launch.py --reinstall-torch"
    ),
    "Another start of this program is installing its packages right now.": (
        "本程序的另一次启动正在安装软件包。"
    ),
    "Wait until it has finished, then start again.": "请等它完成后再启动。",
    "Removing PyTorch": "移除 PyTorch",
    "Packages": "软件包",
    "Packages for the tests": "测试用软件包",
    # pip
    "The disk is full.": "磁盘已满。",
    "The package index's certificate was refused.": "软件源的证书未被接受。",
    "On a company network, ask for its certificate file and tell pip: pip config set global.cert "
    "FILE": "在公司网络中，请索取证书文件并告诉 pip：pip config set global.cert 文件",
    "The package index cannot be reached.": "无法连接软件源。",
    "Check the internet connection and start again. Behind a proxy: set HTTPS_PROXY. Near a "
    "mirror: pip config set global.index-url ADDRESS": (
        "请检查网络后再次启动。使用代理：设置 HTTPS_PROXY。"
        "使用镜像：pip config set global.index-url 地址"
    ),
    "A download arrived damaged.": "下载的文件已损坏。",
    "Start again. If it happens twice, empty pip's store first: pip cache purge": (
        "请再次启动。如果重复出现，先清空 pip 的缓存：pip cache purge"
    ),
    "Windows refuses the long file names.": "Windows 不接受过长的文件名。",
    "Move the project to a short folder such as C:\\danqing.": (
        "请把项目移到路径较短的文件夹，例如 C:\\danqing。"
    ),
    "A file could not be replaced; perhaps the program is still running.": (
        "有文件无法替换，可能程序还在运行。"
    ),
    "Close every window of the program and start again.": "请关闭程序的所有窗口后再次启动。",
    "The package index has no fitting file for a package.": "软件源中缺少某个合适的软件包。",
    "Check the internet connection. If pip uses a mirror, it may be behind: try another. For "
    "PyTorch: try --torch cpu.": (
        "请检查网络。如果 pip 使用镜像，它可能还没更新，请换一个。若是 PyTorch，可试 --torch cpu。"
    ),
    "Memory ran out.": "内存不足。",
    "Close other programs and start again.": "请关闭其他程序后再次启动。",
    "pip stopped with an error.": "pip 出错停止。",
    "Starting again often helps.": "再次启动往往就好。",
    "Everything pip said: {log}": "pip 的全部输出：{log}",
    "Installing the packages failed. {meaning}": "安装软件包失败。{meaning}",
    "looking up packages": "正在查找软件包",
    "looking up {package}": "正在查找 {package}",
    "taking {package} from this machine": "使用本机的 {package}",
    "downloading {package}": "正在下载 {package}",
    "unpacking": "正在解包",
    "unpacking {count} packages": "正在解包 {count} 个软件包",
    " {done} of {count} packages": " {done}/{count} 个软件包",
    " {done:.0f} of {all:.0f} MB": " {done:.0f}/{all:.0f} MB",
    "{minutes} min {seconds} s": "{minutes} 分 {seconds} 秒",
    "{seconds} s": "{seconds} 秒",
    # torch_choice, torch_source
    "This Mac has an Intel processor, and PyTorch is no longer made for those.": (
        "这台 Mac 使用英特尔处理器，PyTorch 已不再支持。"
    ),
    "Use a Mac with an Apple chip, a Windows or Linux machine, or a rented one.": (
        "请使用苹果芯片的 Mac、Windows 或 Linux 机器，或租用一台。"
    ),
    "this is a Mac with an Apple chip": "这是苹果芯片的 Mac",
    "nvidia-smi is installed but finds no working card or driver": (
        "装有 nvidia-smi，但它找不到可用的显卡或驱动"
    ),
    "no NVIDIA or AMD card was found": "没有找到 NVIDIA 或 AMD 显卡",
    "--torch {wanted} asks for it": "由 --torch {wanted} 指定",
    "--torch was given '{wanted}', which is not a PyTorch build.": (
        "--torch 的值是“{wanted}”，没有这种 PyTorch 版本。"
    ),
    "Use auto, cpu, mps, xpu, cuda, rocm, or an exact build such as cu126 or rocm7.1.": (
        "可用 auto、cpu、mps、xpu、cuda、rocm，或具体版本如 cu126、rocm7.1。"
    ),
    "{name}, driver {driver}": "{name}，驱动 {driver}",
    "{found}: the card is too old for PyTorch": "{found}：显卡太旧，PyTorch 不支持",
    "{found}: the driver is too old; update it to {needed} or newer, then start with "
    "--reinstall-torch": (
        "{found}：驱动太旧；请更新到 {needed} 或更新版本，再加上 --reinstall-torch 启动"
    ),
    "{found}; CUDA 12.6, the last for this older card": (
        "{found}；CUDA 12.6，支持这张旧显卡的最后版本"
    ),
    "{found}; a driver for CUDA 12": "{found}；驱动对应 CUDA 12",
    "PyTorch is not built for the AMD chip {chips} (--torch rocm tries it nevertheless)": (
        "PyTorch 不支持 AMD 芯片 {chips}（可用 --torch rocm 强行尝试）"
    ),
    "an AMD card was found ({amd})": "找到 AMD 显卡（{amd}）",
    "{builds}: no such PyTorch for this Python and system": (
        "{builds}：没有适合此 Python 和系统的 PyTorch"
    ),
    "{url} does not answer": "{url} 没有响应",
    # webui.doctor
    "Start the program once: python launch.py": "请启动一次程序：python launch.py",
    "This machine can paint.": "这台机器可以作画。",
    "It cannot paint yet: see [X ] above.": "现在还不能作画：请看上面的 [X ]。",
    "{folder}: {reason}": "{folder}：{reason}",
    "{folder}: its installation was not finished": "{folder}：安装没有完成",
    "{folder}: made for other requirements or another place": ("{folder}：与现在的依赖或位置不符"),
    "The next start brings it up to date.": "下次启动会更新它。",
    "{folder}: whole and up to date": "{folder}：完整且最新",
    "missing: {names}": "缺少：{names}",
    "other versions than the tried ones (in brackets): {names}": (
        "与试用过的版本（括号内）不同：{names}"
    ),
    "If something fails: python launch.py --reinstall": (
        "如果出现问题：python launch.py --reinstall"
    ),
    "all {count}, in the tried versions": "{count} 个齐全，版本均试用过",
    "could not be read": "无法读取",
    "{free:.1f} of {total:.1f} GB free": "共 {total:.1f} GB，可用 {free:.1f} GB",
    "Close other programs, or paint small pictures with small checkpoints.": (
        "请关闭其他程序，或用较小的模型画较小的图。"
    ),
    "{free:.1f} GB free in {folder}": "{folder} 可用 {free:.1f} GB",
    "Free some space.": "请腾出一些空间。",
    "Install or update the card's driver.": "请安装或更新显卡驱动。",
    "{version} computes on {device}": "{version} 可在 {device} 上计算",
    "There is a card that PyTorch does not use: python launch.py --reinstall-torch": (
        "有显卡但 PyTorch 没有使用：python launch.py --reinstall-torch"
    ),
    "gave no answer within {seconds} s": "{seconds} 秒内没有响应",
    "not looked for: the flags could not be read": "未检查：无法读取参数",
    "not looked for: {reason}": "未检查：{reason}",
    "checkpoints: {count}": "模型：{count}",
    "Put a .safetensors checkpoint into models/Stable-diffusion.": (
        "请把 .safetensors 模型放进 models/Stable-diffusion。"
    ),
    "the CLIP vocabulary is not right": "CLIP 词表不正确",
    "painting needs no network; only downloads and --share do": (
        "作画不需要网络；只有下载和 --share 需要"
    ),
    "{port} is free": "{port} 可用",
    "{port} is in use, perhaps by this program already": "{port} 已被占用，也许本程序已在运行",
    "Choose another one with --port.": "请用 --port 换一个。",
    "The next free one will be taken.": "会改用下一个可用端口。",
    # webui.models_command
    "Weights without the page. Flags of the program, such as --data-dir, come last.": (
        "不打开网页也能管理模型文件。程序自己的参数（如 --data-dir）写在最后。"
    ),
    "what lies in the model folders": "列出模型文件夹中的文件",
    "search the list of well-known weights": "搜索常用权重列表",
    "get well-known weights by name, or what a link leads to": (
        "按名称获取常用权重，或获取链接指向的文件"
    ),
    "what kind of file it is": "文件的类型",
    "which of several files at the link": "链接处有多个文件时，选择其中一个",
    "the name to keep it under": "保存时使用的文件名",
    "compare files with their known hashes": "用已知哈希校验文件",
    "folders, mirrors, keys": "文件夹、镜像、密钥",
    "store a key for a site; it is asked for, never shown": "保存某网站的密钥；输入时不显示",
    "\nStopped. The same command goes on from here.": "\n已停止。再次运行同一命令会从这里继续。",
    "What is fetched goes here:": "获取的文件保存在：",
    "Looked into: {folders}": "查找的文件夹：{folders}",
    "Mirrors ({file}):": "镜像（{file}）：",
    "Keys: {sites}": "密钥：{sites}",
    "none": "无",
    "Nothing of that name is in the list.": "列表里没有这个名称。",
    '* is here already. Get one with: python launch.py models get "NAME"': (
        '* 表示已有。获取：python launch.py models get "名称"'
    ),
    "{name}: licence {licence}": "{name}：许可证 {licence}",
    "No well-known weights are called {name}.": "没有名为 {name} 的常用权重。",
    "Did you mean: {names}?": "您是不是要找：{names}？",
    "All of them: python launch.py models search": "全部列表：python launch.py models search",
    "No file of that name is there. All of them: python launch.py models list": (
        "没有这个名称的文件。全部文件：python launch.py models list"
    ),
    "It lies in {path}": "文件位于 {path}",
    "There are several files at this address.": "这个地址有多个文件。",
    "Say which one with --file.": "请用 --file 指定其中一个。",
    "it is {name}": "即 {name}",
    "NOT the published {name}": "不是官方发布的 {name}",
    "not in the list": "不在列表中",
    "Key for {site} (empty takes it away): ": "{site} 的密钥（留空则删除）：",
    "Kept.": "已保存。",
    "Taken away.": "已删除。",
    "asking which source answers first …": "正在测试哪个来源最快…",
    "checking …": "正在校验…",
    "the server asks for {seconds:.0f} s of patience": "服务器要求等待 {seconds:.0f} 秒",
    "mirror of {host}": "{host} 的镜像",
    # app: the program itself
    "Ignored: {flags}": "已忽略：{flags}",
    "{host}:{port} cannot be used: {reason}.": "无法使用 {host}:{port}：{reason}。",
    "Choose another address with --server-name or another port with --port.": (
        "请用 --server-name 换一个地址，或用 --port 换一个端口。"
    ),
    "Port {ports} is in use by another program.": "端口 {ports} 已被其他程序占用。",
    "Stop that program (perhaps this one runs already), or choose another port with --port.": (
        "请停止那个程序（也许本程序已经在运行），或用 --port 换一个端口。"
    ),
    "\nDanqing (丹青) is at {url}    Stop it with Ctrl+C.": (
        "\n丹青 (Danqing) 位于 {url}    按 Ctrl+C 停止。"
    ),
    "On other machines of this network: {url}": "在同一网络的其他设备上：{url}",
    "Name: {name}    Password: {password}    ({can})": (
        "用户名：{name}    密码：{password}    （{can}）"
    ),
    "may do everything": "可以做任何事",
    "may paint; for those you invite": "可以作画；给您邀请的人",
    "No public link could be made: {reason}.\nThe page goes on working here. The link needs the "
    "internet and Gradio's tunnel program, which is\nfetched at first use. Each of these makes a "
    "link as well; passwords are asked for there, too:": (
        "无法建立公开链接：{reason}。\n本机页面照常工作。公开链接需要互联网和 Gradio 的隧道程序"
        "（首次使用时下载）。\n下面每一种办法也能建立链接，同样需要密码："
    ),
    "Public link: {url}    (everybody has to log in there)": (
        "公开链接：{url}    （每个人都需要登录）"
    ),
}
