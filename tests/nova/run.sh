#!/usr/bin/env bash
# Usage: run.sh [--keep] [ovs|ovn...] [-- CHECK...]
#
# The whole ring: a world with an OpenStack in it, the checks of ring.py for each control plane (both, unless some are
# named), and the world's end. --keep leaves the world up, for world.sh run and world.sh shell. Logs stay in $R/log.
set -euo pipefail
# shellcheck source=tests/nova/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

keep=
modes=()
while [[ $# -gt 0 && $1 != -- ]]; do
    case $1 in
        --keep) keep=yes ;;
        ovs | ovn) modes+=("$1") ;;
        *)
            echo "usage: run.sh [--keep] [ovs|ovn...] [-- CHECK...]" >&2
            exit 2
            ;;
    esac
    shift
done
[[ $# -eq 0 ]] || shift
[[ ${#modes[@]} -gt 0 ]] || modes=(ovs ovn)

[[ -e $R/images/initrd ]] || "$H/image.sh"
"$H/world.sh" down
"$H/world.sh" wipe
trap '[[ -n $keep ]] || "$H/world.sh" down' EXIT
"$H/world.sh" up
say "the world is up; next are the databases, Keystone, Glance, Placement"
"$H/base.sh"
say "Nova's databases"
"$H/nova.sh" databases
"$H/switch.sh"
say "vifplug from this checkout"
"$H/vifplug.sh" install >"$R/log/vifplug-install.out" 2>&1
"$H/vifplug.sh" start
status=0
for number in "${!modes[@]}"; do
    mode=${modes[number]}
    [[ $number -eq 0 ]] || "$H/neutron.sh" down "${modes[number - 1]}"
    say "Neutron, ML2/${mode^^}"
    "$H/neutron.sh" up "$mode"
    [[ $number -ne 0 ]] || "$H/nova.sh" up
    enter python -W ignore "$H/resources.py" "$mode"
    say "the checks"
    enter env "VIFPLUG_NOVA_KILLS=${VIFPLUG_NOVA_KILLS:-10}" "PYTHONPATH=$REPO" PYTHONDONTWRITEBYTECODE=1 \
        python -W ignore -m tests.nova.ring "$mode" "$@" || status=1
done
exit "$status"
