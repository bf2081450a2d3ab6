#!/usr/bin/env bash
# Usage: nova.sh databases | up | host
#
# Nova; nova-compute runs as user nova, and plugs through vifplug (docs/how-to/os-vif.md).
set -euo pipefail
# shellcheck source=tests/nova/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

configure() {
    enter mkdir -p /etc/nova /var/lib/nova/instances /var/lib/nova/lock
    local program file plugin=$'[os_vif_vifplug]\ntake_ovs = true\nvia = daemon'
    for program in nova-compute nova-conductor nova-scheduler nova-api nova-manage; do
        file=/etc/nova/$program.conf
        [[ $program != nova-compute ]] || file=/etc/nova/nova.conf
        render nova.conf "PROG=$program" "VIFPLUG=$plugin" BACKEND=auto VIFTIMEOUT=120 VIFFATAL=true DEBUG=true |
            install_file "$file"
    done
    enter cp "$V/etc/nova/api-paste.ini" /etc/nova/
}

databases() {
    local manage=(enter nova-manage --config-file /etc/nova/nova-manage.conf)
    configure
    "${manage[@]}" api_db sync
    "${manage[@]}" cell_v2 map_cell0 --database_connection mysql+pymysql://osk:osk@127.0.0.1/nova_cell0
    "${manage[@]}" db sync
    "${manage[@]}" cell_v2 create_cell --name cell1
}

up() {
    enter chown -R nova: /var/lib/nova /var/log/nova
    echo "nova ALL=(root) NOPASSWD: /usr/local/bin/vifplug-privsep-helper, $V/bin/privsep-helper" |
        install_file /etc/sudoers.d/nova
    background nova-conductor nova-conductor --config-file /etc/nova/nova-conductor.conf
    background nova-scheduler nova-scheduler --config-file /etc/nova/nova-scheduler.conf
    # The paste file first, or uwsgi's nova-api does not find it.
    wsgi nova-api 8774 nova.wsgi.osapi_compute:application 4 OS_NOVA_CONFIG_DIR=/etc/nova \
        "OS_NOVA_CONFIG_FILES=api-paste.ini;nova-api.conf"
    background nova-compute setpriv --reuid=nova --regid=nova --init-groups env HOME=/var/lib/nova \
        nova-compute --config-file /etc/nova/nova.conf
    await 300 enter curl -sf http://controller:8774/
}

# Each nova-manage takes seconds of a processor, which nova-compute needs to start: the row is waited for by MariaDB's client.
host() {
    # shellcheck disable=SC2016
    await 300 enter bash -c 'mariadb -N -e "select host from nova.compute_nodes" | grep -q hv1'
    enter nova-manage --config-file /etc/nova/nova-manage.conf cell_v2 discover_hosts --verbose >>"$R/log/nova-manage.out" 2>&1
    # shellcheck disable=SC2016
    await 60 enter bash -c 'mariadb -N -e "select host from nova_api.host_mappings" | grep -q hv1'
}

case ${1:-} in
    databases) databases >>"$R/log/nova-manage.out" 2>&1 ;;
    up) up ;;
    host) host ;;
    *)
        echo "usage: nova.sh databases | up | host" >&2
        exit 2
        ;;
esac
