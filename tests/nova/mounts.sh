#!/usr/bin/env bash
# The world's own file system: what is written to /etc, /opt, /usr/local and /var stays in $R/overlay; /run is empty, /sys
# and /proc are its own. Run by process 1 of the world.
set -euo pipefail
# shellcheck source=tests/nova/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

mount --make-rprivate /
mount -t proc proc /proc
mkdir -p "$R/cgroup"
mount --rbind /sys/fs/cgroup "$R/cgroup" 2>/dev/null || true
mount -t sysfs sysfs /sys
mount --rbind "$R/cgroup" /sys/fs/cgroup 2>/dev/null || true
umount -l "$R/cgroup" 2>/dev/null || true
for directory in etc opt usr/local var; do
    mkdir -p "$R/overlay/$directory/upper" "$R/overlay/$directory/work"
    mount -t overlay overlay -o "lowerdir=/$directory,upperdir=$R/overlay/$directory/upper,workdir=$R/overlay/$directory/work" "/$directory"
done
# A checkout, a virtual environment or a Python below /root is closed to user nova, and one below /tmp would be hidden:
# each is mounted again at its own path, below directories that everybody may enter.
mount -t tmpfs -o mode=755 run /run
python=$(dirname "$(dirname "$(readlink -f "$V/bin/python")")")
kept=("$REPO" "$R" "$V" "$python")
for number in "${!kept[@]}"; do
    mkdir -p "/run/kept/$number"
    mount --bind "${kept[number]}" "/run/kept/$number"
done
mkdir -p "/run/kept/tmp"
mount --bind "$R/tmp" /run/kept/tmp
mount -t tmpfs -o mode=755 root /root
mount --bind /run/kept/tmp /tmp
for number in "${!kept[@]}"; do
    path=${kept[number]}
    for directory in /root /tmp; do
        if [[ $path == "$directory"/* ]]; then
            mkdir -p "$path"
            mount --bind "/run/kept/$number" "$path"
        fi
    done
done
mkdir -p /run/pids /run/lock /run/libvirt /run/openvswitch /run/ovn /run/mysqld /run/sudo /run/netns
hostname hv1
echo "127.0.0.1 localhost hv1 controller" >/etc/hosts
echo hv1 >/etc/hostname
# Users, as the packages of a compute host make them.
for user in nova neutron glance keystone placement libvirt-qemu; do
    getent passwd "$user" >/dev/null ||
        useradd --system --user-group --home-dir "/var/lib/$user" --shell /usr/sbin/nologin "$user"
    mkdir -p "/var/lib/$user" "/var/log/$user"
    chown "$user:" "/var/lib/$user" "/var/log/$user"
done
for group in libvirt kvm; do getent group "$group" >/dev/null || groupadd --system "$group"; done
usermod -aG libvirt,kvm nova
ip link set lo up
ip addr add 10.78.0.2/32 dev lo
ip link add u0 type veth peer name u1
ip addr add 10.79.0.2/24 dev u0
ip link set u0 up
ip link set u1 up
sysctl -qw net.ipv4.ip_forward=1 2>/dev/null || true
