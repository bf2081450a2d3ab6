#!/usr/bin/env bash
# Usage: run.sh [--keep] [ovs|ovn|bridge...] [-- CHECK...]
#
# The whole ring: a world with an OpenStack in it, the checks for each control plane (ovs and ovn, unless some are
# named), and the world's end. --keep leaves the world up, for world.sh run and world.sh shell. Logs stay in $R/log.
set -euo pipefail
# shellcheck source=tests/nova/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

keep=
modes=()
while [[ $# -gt 0 && $1 != -- ]]; do
    case $1 in
        --keep) keep=yes ;;
        ovs | ovn | bridge) modes+=("$1") ;;
        *)
            echo "usage: run.sh [--keep] [ovs|ovn|bridge...] [-- CHECK...]" >&2
            exit 2
            ;;
    esac
    shift
done
[[ $# -eq 0 ]] || shift
[[ ${#modes[@]} -gt 0 ]] || modes=(ovs ovn)

# aside COMMAND...: beside what comes next; together waits for all of them, and ends when one has failed.
asides=()
aside() {
    "$@" &
    asides+=("$!")
}
together() {
    local pid
    for pid in "${asides[@]}"; do wait "$pid"; done
    asides=()
}
end() {
    [[ ${#asides[@]} -eq 0 ]] || kill "${asides[@]}" 2>/dev/null || true
    [[ -n $keep ]] || "$H/world.sh" down
}

# Beside Keystone's.
schemas() {
    "$H/nova.sh" databases
    "$H/neutron.sh" databases "${modes[0]}"
}

switch_and_vifplug() {
    "$H/vifplug.sh" install >"$R/log/vifplug-install.out" 2>&1
    "$H/switch.sh"
    "$H/vifplug.sh" start
}

"$H/world.sh" down
"$H/world.sh" wipe
trap end EXIT
"$H/world.sh" up
say "the world is up; next are its services, and vifplug from this checkout"
aside switch_and_vifplug
[[ -e $R/images/initrd ]] || aside "$H/image.sh"
"$H/databases.sh"
aside schemas
"$H/identity.sh"
together
status=0
for number in "${!modes[@]}"; do
    mode=${modes[number]}
    say "Neutron, ML2/${mode^^}"
    if [[ $number -eq 0 ]]; then
        aside "$H/nova.sh" up
    else
        "$H/neutron.sh" down "${modes[number - 1]}"
    fi
    "$H/neutron.sh" up "$mode"
    together
    [[ $number -ne 0 ]] || aside "$H/nova.sh" host
    enter python -W ignore "$H/resources.py" "$mode"
    together
    say "the checks"
    enter env "PYTHONPATH=$REPO" PYTHONDONTWRITEBYTECODE=1 \
        python -W ignore -m tests.nova.ring "$mode" "$@" || status=1
done
exit "$status"
