#!/usr/bin/env bash
# MariaDB with all databases, and RabbitMQ. What reads them waits: RabbitMQ is up some seconds after the end of this.
set -euo pipefail
# shellcheck source=tests/nova/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

enter bash -ec 'mkdir -p /run/rabbitmq /var/lib/ring-rabbitmq
    printf "loopback_users = none\nvm_memory_high_watermark.relative = 0.2\nlisteners.tcp.1 = 127.0.0.1:5672\nlisteners.tcp.2 = 10.79.0.2:5672\n" >/etc/ring-rabbitmq.conf
    echo "[]." >/etc/ring-rabbitmq.plugins'
background epmd env ERL_EPMD_ADDRESS=127.0.0.1 epmd
sleep 0.5
background rabbitmq env HOME=/var/lib/ring-rabbitmq RABBITMQ_NODENAME=ring@localhost \
    RABBITMQ_MNESIA_BASE=/var/lib/ring-rabbitmq RABBITMQ_LOG_BASE=/var/log/ring-rabbitmq \
    RABBITMQ_PID_FILE=/run/rabbitmq/pid RABBITMQ_CONFIG_FILE=/etc/ring-rabbitmq \
    RABBITMQ_ENABLED_PLUGINS_FILE=/etc/ring-rabbitmq.plugins RABBITMQ_CONF_ENV_FILE=/etc/none ERL_EPMD_ADDRESS=127.0.0.1 \
    /usr/lib/rabbitmq/bin/rabbitmq-server

enter bash -ec 'mkdir -p /run/mysqld /etc/mysql/mariadb.conf.d
    chown mysql: /run/mysqld
    [ -d /var/lib/mysql/mysql ] || mariadb-install-db --user=mysql --skip-test-db >/dev/null 2>&1'
install_file /etc/mysql/mariadb.conf.d/99-ring.cnf <"$H/templates/mariadb.cnf"
background mariadb mariadbd --user=mysql
await 120 enter mariadb -e 'select 1'
{
    for database in keystone glance placement nova_api nova nova_cell0 neutron_ovs neutron_ovn neutron_bridge; do
        echo "create database if not exists $database character set utf8mb3;"
    done
    echo "create user if not exists osk@'127.0.0.1' identified by 'osk'; grant all on *.* to osk@'127.0.0.1';"
} | enter mariadb
