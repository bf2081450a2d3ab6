#!/usr/bin/env bash
# Usage: world.sh up | down | wipe | run COMMAND... | shell
#
# The world of the ring: namespaces of its own for network, mounts, processes, host name and IPC. down ends every process
# in it; wipe removes what it wrote.
set -euo pipefail
# shellcheck source=tests/nova/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

is_up() { [[ -e $R/init.pid ]] && [[ -e /proc/$(<"$R/init.pid")/ns/net ]] && nsenter -t "$(<"$R/init.pid")" -m test -e /run/ready; }

case ${1:-} in
    up)
        if is_up; then
            echo "world.sh: it is up already; world.sh down ends it" >&2
            exit 1
        fi
        mkdir -p "$R/log" "$R/tmp"
        chmod 1777 "$R/tmp"
        setsid unshare --mount --net --uts --ipc --pid --fork --kill-child --propagation private \
            python3 "$H/init.py" "$H" </dev/null >"$R/log/init.out" 2>&1 &
        parent=$!
        for _ in $(seq 100); do
            child=$(cat "/proc/$parent/task/$parent/children" 2>/dev/null || true)
            [[ -z $child ]] || break
            sleep 0.1
        done
        echo "${child// /}" >"$R/init.pid"
        if ! await 60 is_up; then
            tail -5 "$R/log/init.out" >&2
            exit 1
        fi
        ;;
    down) # the death of its process 1 ends every process of the world
        if is_up; then kill -9 "$(<"$R/init.pid")"; fi
        rm -f "$R/init.pid"
        ;;
    wipe) rm -rf "$R/overlay" "$R/tmp" "$R/log" ;;
    run) enter "${@:2}" ;;
    shell) enter bash -i ;;
    *)
        echo "usage: world.sh up | down | wipe | run COMMAND... | shell" >&2
        exit 2
        ;;
esac
