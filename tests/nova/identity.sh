#!/usr/bin/env bash
# Keystone, Glance and Placement.
set -euo pipefail
# shellcheck source=tests/nova/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

enter mkdir -p /etc/keystone /etc/glance /etc/placement /var/lib/glance/images /var/lib/glance/staging /var/lib/glance/tasks
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
enter placement-manage db sync >>"$R/log/placement-manage.out" 2>&1
wsgi placement 8778 placement.wsgi.api:application 2 OS_PLACEMENT_CONFIG_DIR=/etc/placement
enter glance-manage db_sync >>"$R/log/glance-manage.out" 2>&1
wsgi glance 9292 glance.wsgi.api:application 2 OS_GLANCE_CONFIG_FILES=/etc/glance/glance-api.conf
await 240 enter curl -sf $url
enter python -W ignore "$H/catalog.py"
await 240 enter curl -sf http://controller:8778/
await 240 enter bash -c 'curl -s http://controller:9292/ | grep -q versions'
