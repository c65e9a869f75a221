"""The login page and its texts, English and Chinese."""

from __future__ import annotations

LOGIN_TEXTS: dict[str, tuple[str, str]] = {
    "login_title": ("Log in · Danqing", "登录 · 丹青"),
    "login_head": ("This studio asks who is there", "请先登录"),
    "login_name": ("Name", "用户名"),
    "login_password": ("Password", "密码"),
    "login_go": ("Log in", "登录"),
    "login_guests": (
        "Guests paint and see their own pictures. Their name and password are in the invitation.",
        "访客可以作画并查看自己的图片，用户名和密码见邀请信息。",
    ),
    "login_wrong": ("That name and password do not belong together.", "用户名或密码不正确。"),
    "login_wait": (
        "Too many wrong passwords came from this address. Wait {seconds} seconds and try again.",
        "来自此地址的错误密码过多，请等待 {seconds} 秒后再试。",
    ),
}
LOGIN_PAGE = """<!DOCTYPE html>
<html lang="$lang">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$login_title</title>
$icon
<style>
:root { --line: #dfdfdb; --paper: #fff; --ground: #efefec; --text: #26292b; --soft: #6a6e6c;
  --azure: #23688d; --cinnabar: #b23a23; }
@media (prefers-color-scheme: dark) { :root { --line: #34383a; --paper: #1b1d1f;
  --ground: #131517; --text: #e8e8e5; --soft: #9da19f; --azure: #5fa9cc; --cinnabar: #e2664d; } }
body { margin: 0; min-height: 100vh; display: grid; place-items: center;
  background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }
main { box-sizing: border-box; width: min(380px, calc(100vw - 24px)); padding: 28px;
  background: var(--paper); border: 1px solid var(--line); border-radius: 8px; }
.brand { font-size: 26px; } .brand b { color: var(--cinnabar); font-weight: 600; }
.brand i { color: var(--azure); font-style: normal; }
h1 { font-size: 17px; font-weight: 600; margin: 6px 0 18px; }
label { display: block; margin: 12px 0; color: var(--soft); font-size: 13px; }
input { box-sizing: border-box; width: 100%; margin-top: 4px; padding: 10px; font: inherit;
  font-size: 16px; color: var(--text); background: var(--ground); border: 1px solid var(--line);
  border-radius: 6px; }
button { width: 100%; margin-top: 10px; padding: 11px; font: inherit; font-weight: 600;
  color: #fff; background: #23688d; border: 0; border-radius: 6px; cursor: pointer; }
:focus-visible { outline: 2px solid var(--azure); outline-offset: 1px; }
p { margin: 14px 0 0; color: var(--soft); font-size: 13px; }
p:empty { display: none; }
.problem { margin: 0 0 12px; color: var(--cinnabar); font-size: 14px; }
</style>
</head>
<body>
<main>
<div class="brand" aria-hidden="true"><b>丹</b><i>青</i></div>
<h1>$login_head</h1>
<p class="problem" role="alert">$problem</p>
<form method="post" action="$action">
<label>$login_name<input name="username" autocomplete="username" autocapitalize="none" required
 value="$user" $name_focus></label>
<label>$login_password<input name="password" type="password" autocomplete="current-password"
 required $password_focus></label>
<button type="submit">$login_go</button>
</form>
<p>$guest_hint</p>
</main>
</body>
</html>
"""
