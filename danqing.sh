#!/bin/sh
# Starts Danqing on Linux and macOS: finds a Python 3.10 to 3.13 and hands over to launch.py.
# Flags are passed on: ./danqing.sh --port 7861
cd "$(dirname "$0")" || exit 1

wait_for_reader() {
    # A window that a double click opened would close before anybody could read it.
    if [ -t 0 ] && [ -t 1 ]; then
        printf '\nPress Enter to close. / 按回车键关闭。 '
        read -r _
    fi
}

is_suitable() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

for python in .venv/bin/python python3.12 python3.11 python3.13 python3.10 python3 python; do
    if command -v "$python" >/dev/null 2>&1 && is_suitable "$python"; then
        "$python" launch.py "$@"
        code=$?
        # 130 and 143: it was stopped with Ctrl+C, or told to end.
        case $code in 0 | 130 | 143) ;; *) wait_for_reader ;; esac
        exit $code
    fi
done

cat <<'TEXT'
Danqing needs Python 3.10, 3.11, 3.12 or 3.13, and none was found.
  macOS:          https://www.python.org/downloads/  (choose 3.12)
  Ubuntu, Debian: sudo apt install python3 python3-venv
  Fedora:         sudo dnf install python3.12
Then start this file again.

丹青需要 Python 3.10、3.11、3.12 或 3.13，但没有找到。
  macOS：         从 https://www.python.org/downloads/ 下载安装 3.12
  Ubuntu、Debian：sudo apt install python3 python3-venv
  Fedora：        sudo dnf install python3.12
安装之后请再次运行本文件。
TEXT
wait_for_reader
exit 1
