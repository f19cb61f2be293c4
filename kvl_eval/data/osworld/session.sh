#!/bin/bash
# Runs inside the sandbox of task osworld-local: X server, session bus, window manager, bridges, OSWorld's own server.
# /desk is this folder, /server the server's source, /bridge a folder of UNIX sockets; $PYTHON_HOME has its interpreter.
export HOME=/home/user USER=user LOGNAME=user DISPLAY=:0 XDG_RUNTIME_DIR=/run/user/1000 LANG=C.UTF-8 TZ=Etc/UTC
export PATH=$XDG_RUNTIME_DIR/bin:/desk/shims:$PYTHON_HOME/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/usr/games
export XDG_CURRENT_DESKTOP=GNOME GTK_MODULES=gail:atk-bridge QT_ACCESSIBILITY=1 QT_LINUX_ACCESSIBILITY_ALWAYS_ON=1
export SAL_USE_VCLPLUGIN=gtk3 NO_AT_BRIDGE=0 XAUTHORITY=$HOME/.Xauthority
export DBUS_SESSION_BUS_ADDRESS=unix:path=$XDG_RUNTIME_DIR/bus
LOGS=$XDG_RUNTIME_DIR/logs

mkdir -p "$HOME"/{Desktop,Documents,Downloads,Pictures,server,.config/openbox} "$XDG_RUNTIME_DIR/bin" "$LOGS"
ln -s /usr/lib/chromium/chromium "$XDG_RUNTIME_DIR/bin/chrome" # tasks run `pkill chrome`
cp /desk/openbox-rc.xml "$HOME/.config/openbox/rc.xml"
cp /server/*.py "$HOME/server/"

# With an empty file python-xlib prints a warning on standard output, which evaluators read.
touch "$XAUTHORITY"
for name in desk/unix:0 :0; do xauth -q add "$name" . "$(mcookie)"; done
mkdir -p -m 1777 /tmp/.X11-unix
# -noreset: otherwise the server starts over when its last client leaves, and a window manager that connects then dies.
Xvfb :0 -auth "$XAUTHORITY" -screen 0 "${SCREEN}x24" -nolisten tcp -noreset >"$LOGS/xvfb" 2>&1 &
for _ in $(seq 200); do xdpyinfo >/dev/null 2>&1 && break; sleep 0.05; done

dbus-daemon --session --address="$DBUS_SESSION_BUS_ADDRESS" --fork --nopidfile
gsettings set org.gnome.desktop.interface toolkit-accessibility true
xsetroot -solid '#2c5d8a'
openbox >"$LOGS/openbox" 2>&1 &
/usr/libexec/at-spi-bus-launcher --launch-immediately >/dev/null 2>&1 &
for port in 5000 9222 8080; do
  socat UNIX-LISTEN:/bridge/$port.sock,fork TCP:127.0.0.1:$port 2>/dev/null &
done
cd "$HOME" && exec python server/main.py >"$LOGS/server" 2>&1
