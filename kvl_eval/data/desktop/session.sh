#!/bin/bash
# Runs inside the sandbox: X server, window manager, then the server that the host talks to.
export HOME=/home/user USER=user LOGNAME=user DISPLAY=:0 XDG_RUNTIME_DIR=/run/user/1000 LANG=C.UTF-8 TZ=UTC
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/usr/games XAUTHORITY=$HOME/.Xauthority
logs=$XDG_RUNTIME_DIR/logs

mkdir -p "$HOME"/{Desktop,Documents,Downloads,Pictures} "$logs"
mkdir -p -m 1777 /tmp/.X11-unix
touch "$XAUTHORITY"
for name in desk/unix:0 :0; do xauth -q add "$name" . "$(mcookie)"; done

# -noreset: otherwise the X server starts over whenever its last client leaves, and a program that connects in that
# moment dies.
Xvfb :0 -auth "$XAUTHORITY" -screen 0 "${SCREEN}x24" -nolisten tcp -noreset >"$logs/xvfb" 2>&1 &
until [ -S /tmp/.X11-unix/X0 ]; do sleep 0.02; done
openbox >"$logs/openbox" 2>&1 &
until wmctrl -m 2>/dev/null | grep -q "Name: Openbox"; do sleep 0.05; done
cd "$HOME" && PYTHONPATH=/desk exec /usr/bin/python3 -s -m kvl_eval.agent.guest_server /bridge/desk.sock 2>"$logs/server"
