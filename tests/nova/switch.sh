#!/usr/bin/env bash
# The world's Open vSwitch, in /run/openvswitch where all programs look for it, and its libvirtd.
set -euo pipefail
# shellcheck source=tests/nova/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# os-vif's own plugin reads OVSDB over TCP, for nova-compute may not use root's socket.
# shellcheck disable=SC2016
enter bash -ec 'mkdir -p /etc/openvswitch /run/openvswitch
    cd /run/openvswitch
    ovsdb-tool create /etc/openvswitch/ring.db /usr/share/openvswitch/vswitch.ovsschema
    ovsdb-server /etc/openvswitch/ring.db --remote=punix:/run/openvswitch/db.sock --remote=ptcp:6640:127.0.0.1 --pidfile \
        --unixctl=/run/openvswitch/ovsdb-server.ctl --log-file="$R/log/ovsdb.log" -vconsole:off --detach
    ovs-vsctl --no-wait init
    ovs-vsctl --no-wait set Open_vSwitch . external_ids:system-id=hv1 external_ids:hostname=hv1
    ovs-vswitchd unix:/run/openvswitch/db.sock --pidfile --log-file="$R/log/vswitchd.log" -vconsole:off --detach
    ovs-vsctl add-br br-int -- set bridge br-int datapath_type=netdev fail_mode=secure' 2>>"$R/log/switch.out"

enter mkdir -p /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt
enter chmod 755 /run/libvirt
render qemu.conf | install_file /etc/libvirt/qemu.conf
render libvirtd.conf | install_file /etc/libvirt/libvirtd.conf
background libvirtd libvirtd --config /etc/libvirt/libvirtd.conf
await 120 enter virsh -c qemu:///system version
