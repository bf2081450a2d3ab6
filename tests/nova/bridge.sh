#!/usr/bin/env bash
# Usage: bridge.sh up | down | agents
#
# What mode bridge needs besides Neutron: vifplugd of this host (hv1) with uplinks, a second host in network namespace hv2
# with a vifplugd of its own, and the agent on both. The hosts have two wires: u0 and u1 for tunnels, eth1 on both for
# physnet1.
set -euo pipefail
# shellcheck source=tests/nova/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# configuration LOCAL-IP RUN-DIRECTORY STATE-DIRECTORY
configuration() {
    cat <<END
[DEFAULT]
run_dir = $2
state_dir = $3
[bridge]
physical_networks = physnet1:eth1
adopted_bridges = brq*
vxlan_local_ip = $1
[filter]
enabled = true
[daemon]
socket = $2/vifplug.sock
operator_users = neutron,nova
operator_bridges = brq*
END
}

wires() {
    # shellcheck disable=SC2016
    enter bash -ec 'ip netns add hv2
        ip link set u1 netns hv2
        ip -n hv2 addr add 10.79.0.3/24 dev u1
        ip link add eth1 mtu 1500 type veth peer name eth1 netns hv2
        for name in lo u1 eth1; do ip -n hv2 link set "$name" up; done
        ip link set eth1 up
        for host in "" hv2; do
            ${host:+ip netns exec $host} sysctl -qw net.ipv6.conf.eth1.disable_ipv6=1
        done'
}

agent() {
    local host=$1 socket=$2 run=()
    [[ $host == hv1 ]] || run=(ip netns exec "$host")
    render vifplug_agent.ini "HOST=$host" "SOCKET=$socket" | install_file "/etc/neutron/vifplug_agent_$host.ini"
    background "vifplug-neutron-agent-$host" "${run[@]}" setpriv --reuid=neutron --regid=neutron --init-groups \
        env HOME=/var/lib/neutron "PATH=$world_path" vifplug-neutron-agent \
        --config-file /etc/neutron/vifplug-neutron-agent.conf --config-file "/etc/neutron/vifplug_agent_$host.ini"
}

agents() {
    enter chown -R neutron: /var/lib/neutron
    enter bash -c "touch $R/log/vifplug-neutron-agent-{hv1,hv2}.log; chown neutron: $R/log/vifplug-neutron-agent-*.log"
    agent hv1 /run/vifplug/vifplug.sock
    agent hv2 /run/vifplug-hv2/vifplug.sock
}

case ${1:-} in
    up)
        # Its firewall driver's commands, and Neutron's privileged daemon.
        echo "neutron ALL=(root) NOPASSWD: ALL" | install_file /etc/sudoers.d/neutron
        enter usermod --append --groups vifplug neutron
        wires
        configuration 10.79.0.2 /run/vifplug /var/lib/vifplug | install_file /etc/vifplug/vifplug.conf
        configuration 10.79.0.3 /run/vifplug-hv2 /var/lib/vifplug-hv2 | install_file /etc/vifplug/hv2.conf
        stop vifplugd
        background vifplugd /usr/local/bin/vifplugd
        enter install -d -o vifplug -g vifplug /var/lib/vifplug-hv2 /run/vifplug-hv2
        background vifplugd-hv2 ip netns exec hv2 /usr/local/bin/vifplugd --config-file /etc/vifplug/hv2.conf
        for directory in vifplug vifplug-hv2; do
            await 120 enter curl -sf --unix-socket "/run/$directory/vifplug.sock" http://localhost/healthz
        done
        ;;
    agents) agents ;;
    down)
        for name in vifplug-neutron-agent-hv1 vifplug-neutron-agent-hv2; do stop "$name" KILL; done
        stop vifplugd-hv2
        enter ip netns del hv2
        ;;
    *)
        echo "usage: bridge.sh up | down | agents" >&2
        exit 2
        ;;
esac
