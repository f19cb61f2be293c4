#!/bin/bash
# Runs inside the sandbox: X server, window manager, then the server that the host talks to.
export HOME=/home/user USER=user LOGNAME=user DISPLAY=:0 XDG_RUNTIME_DIR=/run/user/1000 LANG=C.UTF-8 TZ=UTC
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/usr/games XAUTHORITY=$HOME/.Xauthority
logs=$XDG_RUNTIME_DIR/logs

export DBUS_SESSION_BUS_ADDRESS=unix:path=$XDG_RUNTIME_DIR/bus SAL_USE_VCLPLUGIN=gtk3 NO_AT_BRIDGE=1
office=$HOME/.config/libreoffice/4/user

mkdir -p "$HOME"/{Desktop,Documents,Downloads,Pictures,.config/openbox} "$logs" "$office"
cp /desk/openbox.xml "$HOME/.config/openbox/rc.xml"
cp /desk/libreoffice.xcu "$office/registrymodifications.xcu"
mkdir -p -m 1777 /tmp/.X11-unix
touch "$XAUTHORITY"
for name in desk/unix:0 :0; do xauth -q add "$name" . "$(mcookie)"; done

# -noreset: otherwise the X server starts over whenever its last client leaves, and a program that connects in that
# moment dies.
Xvfb :0 -auth "$XAUTHORITY" -screen 0 "${SCREEN}x24" -nolisten tcp -noreset >"$logs/xvfb" 2>&1 &
until [ -S /tmp/.X11-unix/X0 ]; do sleep 0.02; done
[ ! -x /usr/bin/dbus-daemon ] || dbus-daemon --session --address="$DBUS_SESSION_BUS_ADDRESS" --fork --nopidfile
openbox >"$logs/openbox" 2>&1 &
until wmctrl -m 2>/dev/null | grep -q "Name: Openbox"; do sleep 0.05; done
cd "$HOME" && PYTHONPATH=/desk exec /usr/bin/python3 -s -m kvl_eval.agent.guest_server /bridge/desk.sock 2>"$logs/server"
