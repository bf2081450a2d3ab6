#!/usr/bin/env bash
# Sourced by the scripts of this folder: where things lie, and how to run something in the world.
# R: all of the world's own files (overlays, logs, images). V: the virtual environment of all services. H: this folder.
H=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO=$(cd "$H/../.." && pwd)
R=${VIFPLUG_NOVA_ROOT:-$REPO/.nova}
V=${VIFPLUG_NOVA_VENV:-$REPO/.venv-nova}
export H REPO R V
export PATH=$PATH:/usr/sbin:/sbin
unset PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE
world_path=$V/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# enter COMMAND...: in the world's namespaces, as root.
enter() { nsenter -t "$(<"$R/init.pid")" -m -n -u -i -p -- env "PATH=$world_path" HOME=/root "R=$R" "V=$V" "$@"; }

# background NAME COMMAND...: a daemon of the world; its log is $R/log/NAME.out, its pid (in the world) in /run/pids/NAME.
background() {
    local name=$1
    shift
    # shellcheck disable=SC2016 # $$ and $@ are the inner shell's
    enter setsid bash -c 'echo $$ >"/run/pids/$1"; shift; exec "$@"' _ "$name" "$@" </dev/null >>"$R/log/$name.out" 2>&1 &
}

# stop NAME [SIGNAL]: end a daemon of the world; one that has not ended after 30 seconds is killed.
stop() {
    # shellcheck disable=SC2016
    enter bash -c 'pid=$(cat "/run/pids/$1" 2>/dev/null) || exit 0
        kill "-$2" "$pid" 2>/dev/null
        for _ in $(seq 300); do kill -0 "$pid" 2>/dev/null || exit 0; sleep 0.1; done
        kill -9 "$pid"' _ "$1" "${2:-TERM}"
}

# await SECONDS COMMAND...: until it succeeds.
await() {
    local seconds=$1 began=$SECONDS
    shift
    until "$@" >/dev/null 2>&1; do
        if [[ $((SECONDS - began)) -ge $seconds ]]; then
            echo "not within $seconds s: $*" >&2
            return 1
        fi
        sleep 0.3
    done
}

say() { printf 'nova: %s %s\n' "$(date +%T)" "$*" >&2; }

# render FILE [KEY=VALUE...]: a template, filled in, to standard output.
render() { python3 "$H/render.py" "$H/templates/$1" "R=$R" "V=$V" "AUTH=$(<"$H/templates/auth.inc")" "${@:2}"; }

# install_file PATH: standard input, as a file of the world.
install_file() { enter tee "$1" >/dev/null; }

# wsgi NAME PORT MODULE THREADS VARIABLE=VALUE...: an API under uwsgi, whose own HTTP socket keeps no connections and says
# so only when it is told to: without the header clients see resets.
wsgi() {
    background "$1" env "${@:5}" uwsgi --http-socket "127.0.0.1:$2" --module "$3" --virtualenv "$V" --master \
        --processes 1 --threads "$4" --enable-threads --lazy-apps --single-interpreter --buffer-size 65535 \
        --die-on-term --need-app --disable-logging --add-header "Connection: close"
}
