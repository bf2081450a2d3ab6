#!/usr/bin/env bash
# Usage: neutron.sh databases | up | down  ovs|ovn|bridge
#
# Neutron's server, and the control plane that is asked for: ML2/OVS with its agents, OVN's own programs, or vifplug's
# mechanism driver with its agents on two hosts.
set -euo pipefail
# shellcheck source=tests/nova/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
mode=${2:?ovs, ovn or bridge}

configure() {
    enter mkdir -p /etc/neutron /var/lib/neutron/lock
    local program nova notify=false
    [[ $mode == ovn ]] || notify=true
    nova=$'region_name = RegionOne\n'$(<"$H/templates/auth.inc")$'\nusername = nova'
    for program in neutron-server neutron-rpc-server neutron-openvswitch-agent vifplug-neutron-agent neutron-dhcp-agent; do
        render neutron.conf "PROG=$program" "MODE=$mode" DEBUG=false "DHCPNOTIFY=$notify" "NOVA=$nova" |
            install_file "/etc/neutron/$program.conf"
    done
    for file in "ml2_$mode.ini" ovs_agent.ini; do render "$file" | install_file "/etc/neutron/$file"; done
    local driver=openvswitch
    [[ $mode != bridge ]] || driver=vifplug
    render dhcp_agent.ini "DRIVER=$driver" | install_file /etc/neutron/dhcp_agent.ini
}

# The schema is the same for all control planes, and a copy of it takes a second where its migrations take half a minute.
databases() {
    configure
    enter neutron-db-manage --config-file /etc/neutron/neutron-server.conf --config-file "/etc/neutron/ml2_$mode.ini" \
        upgrade heads
    # shellcheck disable=SC2016
    enter bash -o pipefail -ec 'for other in ovs ovn bridge; do
            [[ $other == "$1" ]] || mariadb-dump "neutron_$1" | mariadb "neutron_$other"
        done' _ "$mode"
}

start_ovn() {
    # shellcheck disable=SC2016
    enter bash -ec 'cd /run/ovn
        export OVN_RUNDIR=/run/ovn OVN_LOGDIR="$R/log" OVN_DBDIR=/run/ovn
        for name in nb sb; do
            [ -e $name.db ] || ovsdb-tool create $name.db /usr/share/ovn/ovn-$name.ovsschema
            ovsdb-server $name.db --remote=punix:/run/ovn/$name.sock --unixctl=$name.ctl --pidfile=/run/ovn/$name.pid \
                --log-file="$R/log/ovn-$name.log" -vconsole:off --detach
        done
        ovn-nbctl --db=unix:/run/ovn/nb.sock init
        ovn-sbctl --db=unix:/run/ovn/sb.sock init
        ovn-northd --ovnnb-db=unix:/run/ovn/nb.sock --ovnsb-db=unix:/run/ovn/sb.sock --pidfile=/run/ovn/northd.pid \
            --unixctl=/run/ovn/northd.ctl --log-file="$R/log/northd.log" -vconsole:off --detach
        ovs-vsctl set Open_vSwitch . external_ids:ovn-remote=unix:/run/ovn/sb.sock external_ids:ovn-encap-type=geneve \
            external_ids:ovn-encap-ip=10.79.0.2 external_ids:ovn-bridge-datapath-type=netdev
        ovn-controller unix:/run/openvswitch/db.sock --pidfile=/run/ovn/controller.pid \
            --log-file="$R/log/ovn-controller.log" -vconsole:off --detach' 2>>"$R/log/ovn.out"
}

up() {
    local options=(--config-file "/etc/neutron/ml2_$mode.ini")
    configure
    [[ $mode != ovn ]] || start_ovn
    [[ $mode != bridge ]] || "$H/bridge.sh" up
    wsgi neutron-server 9696 neutron.wsgi.api:application 8 OS_NEUTRON_CONFIG_DIR=/etc/neutron \
        "OS_NEUTRON_CONFIG_FILES=neutron-server.conf;ml2_$mode.ini"
    if [[ $mode != ovn ]]; then
        background neutron-rpc-server neutron-rpc-server --config-file /etc/neutron/neutron-rpc-server.conf "${options[@]}"
    fi
    await 300 enter curl -sf http://controller:9696/
    [[ $mode != ovn ]] || return 0
    if [[ $mode == bridge ]]; then
        "$H/bridge.sh" agents
    else
        background neutron-openvswitch-agent neutron-openvswitch-agent \
            --config-file /etc/neutron/neutron-openvswitch-agent.conf --config-file /etc/neutron/ovs_agent.ini
        await 240 enter ovs-vsctl br-exists br-tun
    fi
    background neutron-dhcp-agent neutron-dhcp-agent --config-file /etc/neutron/neutron-dhcp-agent.conf \
        --config-file /etc/neutron/dhcp_agent.ini
}

down() {
    if [[ $mode == bridge ]]; then
        for program in neutron-dhcp-agent neutron-rpc-server; do stop "$program" KILL; done
        "$H/bridge.sh" down
    elif [[ $mode == ovs ]]; then
        # They need up to half a minute after SIGTERM, and have nothing to save.
        for program in neutron-dhcp-agent neutron-openvswitch-agent neutron-rpc-server; do stop "$program" KILL; done
    fi
    stop neutron-server INT
    if [[ $mode == ovn ]]; then
        # shellcheck disable=SC2016
        enter bash -c 'for name in controller northd nb sb; do kill "$(cat /run/ovn/$name.pid)"; done; sleep 1
            ovs-vsctl remove Open_vSwitch . external_ids ovn-remote; ovs-vsctl --if-exists del-br br-int'
    else
        enter ovs-vsctl --if-exists del-br br-tun -- --if-exists del-br br-int -- del-manager
    fi
    enter ovs-vsctl add-br br-int -- set bridge br-int datapath_type=netdev fail_mode=secure
}

case ${1:-} in
    databases) databases >>"$R/log/neutron-db-manage.out" 2>&1 ;;
    up) up ;;
    down) down ;;
    *)
        echo "usage: neutron.sh databases | up | down  ovs|ovn|bridge" >&2
        exit 2
        ;;
esac
