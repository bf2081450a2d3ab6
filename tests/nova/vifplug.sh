#!/usr/bin/env bash
# Usage: vifplug.sh install | start | stop
#
# vifplug as docs/how-to/install.md (Install; Without systemd) and docs/how-to/os-vif.md say. pip needs the machine's network.
set -euo pipefail
# shellcheck source=tests/nova/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

case ${1:-} in
    install)
        # A copy, so that nothing is built inside the checkout.
        rm -rf "$R/tmp/vifplug"
        mkdir -p "$R/tmp/vifplug"
        cp -r "$REPO"/{setup.py,setup.cfg,README.md,LICENSE,vifplug,etc} "$R/tmp/vifplug/"
        python=$(readlink -f "$V/bin/python")
        # shellcheck disable=SC2016
        nsenter -t "$(<"$R/init.pid")" -m bash -ec '"$1" -m venv /opt/vifplug
            /opt/vifplug/bin/pip install -q --disable-pip-version-check "$2"
            ln -sf /opt/vifplug/bin/vifplug /opt/vifplug/bin/vifplugd /opt/vifplug/bin/vifplug-privsep-helper /usr/local/bin/
            "$3/bin/pip" install -q --disable-pip-version-check --force-reinstall --no-deps "$2[os-vif,neutron]"' \
            _ "$python" "$R/tmp/vifplug" "$V"
        # shellcheck disable=SC2016
        enter bash -ec 'install -D -m 644 /opt/vifplug/share/vifplug/vifplug.conf.sample /etc/vifplug/vifplug.conf
            getent passwd vifplug >/dev/null ||
                useradd --system --user-group --home-dir /var/lib/vifplug --shell /usr/sbin/nologin vifplug
            usermod --append --groups vifplug nova'
        ;;
    start)
        background vifplugd /usr/local/bin/vifplugd
        await 120 enter curl -sf --unix-socket /run/vifplug/vifplug.sock http://localhost/healthz
        ;;
    stop) stop vifplugd ;;
    *)
        echo "usage: vifplug.sh install | start | stop" >&2
        exit 2
        ;;
esac
