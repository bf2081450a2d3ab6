#!/usr/bin/env bash
# MariaDB, RabbitMQ, Keystone, Glance and Placement, and all databases.
set -euo pipefail
# shellcheck source=tests/nova/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

enter bash -ec 'mkdir -p /run/mysqld /etc/mysql/mariadb.conf.d
    chown mysql: /run/mysqld
    [ -d /var/lib/mysql/mysql ] || mariadb-install-db --user=mysql --skip-test-db >/dev/null 2>&1'
install_file /etc/mysql/mariadb.conf.d/99-ring.cnf <"$H/templates/mariadb.cnf"
background mariadb mariadbd --user=mysql
await 120 enter mariadb -e 'select 1'
{
    for database in keystone glance placement nova_api nova nova_cell0 neutron_ovs neutron_ovn; do
        echo "create database if not exists $database character set utf8mb3;"
    done
    echo "create user if not exists osk@'127.0.0.1' identified by 'osk'; grant all on *.* to osk@'127.0.0.1';"
} | enter mariadb

enter bash -ec 'mkdir -p /run/rabbitmq /var/lib/ring-rabbitmq
    printf "loopback_users = none\nvm_memory_high_watermark.relative = 0.2\nlisteners.tcp.1 = 127.0.0.1:5672\n" >/etc/ring-rabbitmq.conf
    echo "[]." >/etc/ring-rabbitmq.plugins'
background epmd env ERL_EPMD_ADDRESS=127.0.0.1 epmd
sleep 0.5
background rabbitmq env HOME=/var/lib/ring-rabbitmq RABBITMQ_NODENAME=ring@localhost \
    RABBITMQ_MNESIA_BASE=/var/lib/ring-rabbitmq RABBITMQ_LOG_BASE=/var/log/ring-rabbitmq \
    RABBITMQ_PID_FILE=/run/rabbitmq/pid RABBITMQ_CONFIG_FILE=/etc/ring-rabbitmq \
    RABBITMQ_ENABLED_PLUGINS_FILE=/etc/ring-rabbitmq.plugins RABBITMQ_CONF_ENV_FILE=/etc/none ERL_EPMD_ADDRESS=127.0.0.1 \
    /usr/lib/rabbitmq/bin/rabbitmq-server

enter mkdir -p /etc/keystone /etc/glance /etc/placement /etc/nova /etc/neutron /var/lib/nova/instances \
    /var/lib/nova/lock /var/lib/neutron/lock /var/lib/glance/images /var/lib/glance/staging /var/lib/glance/tasks
render keystone.conf | install_file /etc/keystone/keystone.conf
render glance-api.conf | install_file /etc/glance/glance-api.conf
render placement.conf | install_file /etc/placement/placement.conf
url=http://controller:5000/v3
{
    enter keystone-manage db_sync
    enter keystone-manage fernet_setup --keystone-user root --keystone-group root
    enter keystone-manage credential_setup --keystone-user root --keystone-group root
    enter keystone-manage bootstrap --bootstrap-password admin --bootstrap-region-id RegionOne \
        --bootstrap-admin-url $url --bootstrap-internal-url $url --bootstrap-public-url $url
} >>"$R/log/keystone-manage.out" 2>&1
wsgi keystone 5000 keystone.wsgi.api:application 4 OS_KEYSTONE_CONFIG_FILES=/etc/keystone/keystone.conf
await 240 enter curl -sf $url
enter python -W ignore "$H/catalog.py"
enter glance-manage db_sync >>"$R/log/glance-manage.out" 2>&1
enter placement-manage db sync >>"$R/log/placement-manage.out" 2>&1
wsgi glance 9292 glance.wsgi.api:application 2 OS_GLANCE_CONFIG_FILES=/etc/glance/glance-api.conf
wsgi placement 8778 placement.wsgi.api:application 2 OS_PLACEMENT_CONFIG_DIR=/etc/placement
await 240 enter curl -sf http://controller:8778/
await 240 enter bash -c 'curl -s http://controller:9292/ | grep -q versions'
