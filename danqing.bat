@echo off
rem Starts Danqing on Windows: finds a Python 3.10 to 3.13 and hands over to launch.py.
rem Flags are passed on: danqing.bat --port 7861
setlocal
chcp 65001 >nul
cd /d "%~dp0"
set "IS_SUITABLE=import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13) or sys.maxsize < 2**32)"

if exist ".venv\Scripts\python.exe" (
    ".venv\Scripts\python.exe" -c "%IS_SUITABLE%" >nul 2>nul && (
        ".venv\Scripts\python.exe" launch.py %*
        goto ended
    )
)
for %%V in (3.12 3.11 3.13 3.10) do (
    py -%%V -c "%IS_SUITABLE%" >nul 2>nul && (
        py -%%V launch.py %*
        goto ended
    )
)
python -c "%IS_SUITABLE%" >nul 2>nul && (
    python launch.py %*
    goto ended
)
goto no_python

:ended
set "CODE=%errorlevel%"
if not "%CODE%"=="0" pause
exit /b %CODE%

:no_python
echo Danqing needs a 64-bit Python 3.10, 3.11, 3.12 or 3.13, and none was found.
echo Get Python 3.12 from https://www.python.org/downloads/windows/ ("Windows installer (64-bit)"),
echo tick "Add python.exe to PATH" while installing, then start this file again.
echo.
echo 丹青需要 64 位的 Python 3.10、3.11、3.12 或 3.13，但没有找到。
echo 请从 https://www.python.org/downloads/windows/ 下载 Python 3.12 的 "Windows installer (64-bit)"，
echo 安装时勾选 "Add python.exe to PATH"，然后再次运行本文件。
pause
exit /b 1
