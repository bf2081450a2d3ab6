"""What hypervisors need of a vhost-user VIF."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from vifplug.errors import InputError
from vifplug.guest import Nic, libvirt, qemu
from vifplug.guest.description import describe
from vifplug.model.vif import Vif

ID, PORT = "3fe5648f-4734-49a7-9fef-daa6f86f6799", "vhu3fe5648f-47"
SOCKET = f"/srv/sockets/{PORT}"
"""In another directory than the default one: that of a plugged VIF's socket was checked when it was plugged."""
SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")


def vif(mode: str = "server", **changes: Any) -> Vif:
    document = {"id": ID, "vif_type": "vhost-user", "address": "fa:16:3e:95:3a:3d", "network": {"mtu": 1450}}
    return Vif.model_validate({**document, "vhost_user": {"socket": SOCKET, "mode": mode}, **changes})


def element(source: str, driver: str = "") -> str:
    return f"""<interface type="vhostuser">
  <mac address="fa:16:3e:95:3a:3d"/>
{source}
  <target dev="{PORT}"/>
  <model type="virtio"/>{driver}
  <mtu size="1450"/>
</interface>"""


LISTENS = f'  <source type="unix" path="{SOCKET}" mode="server"/>'
CONNECTS = f"""  <source type="unix" path="{SOCKET}" mode="client">
    <reconnect enabled="yes" timeout="1"/>
  </source>"""
QUEUES = '\n  <driver queues="4"/>'


@pytest.mark.parametrize(
    ("request_", "nic", "xml"),
    [
        (vif(), Nic(), element(LISTENS)),
        (vif(), Nic(is_userspace=True), element(LISTENS)),
        (vif("client"), Nic(queues=4), element(CONNECTS, QUEUES)),
    ],
)
def test_libvirts_element(request_: Vif, nic: Nic, xml: str) -> None:
    assert libvirt.text(request_, nic) == xml


if SCHEMA.exists() and shutil.which("xmllint"):

    @pytest.mark.parametrize("mode", ["server", "client"])
    def test_element_is_one_of_libvirts_schema(tmp_path: Path, mode: str) -> None:
        text = libvirt.text(vif(mode), Nic(queues=2))
        domain = f"""<domain type="qemu"><name>x</name><memory>1</memory><os><type>hvm</type></os>
          <devices>{text}</devices></domain>"""
        file = tmp_path / "domain.xml"
        file.write_text(domain)
        subprocess.run(["xmllint", "--noout", "--relaxng", str(SCHEMA), str(file)], check=True)


@pytest.mark.parametrize(
    ("request_", "nic", "arguments"),
    [
        (
            vif(),
            Nic(is_userspace=True),
            f"-chardev socket,id=vhost-{ID},path={SOCKET},server=on -netdev vhost-user,id=vif-{ID},chardev=vhost-{ID} "
            f"-device virtio-net-pci,netdev=vif-{ID},id=nic-{ID},mac=fa:16:3e:95:3a:3d,host_mtu=1450",
        ),
        (
            vif("client", multiqueue=True),
            Nic(),
            f"-chardev socket,id=vhost-{ID},path={SOCKET},reconnect=1 "
            f"-netdev vhost-user,id=vif-{ID},chardev=vhost-{ID},queues=2 "
            f"-device virtio-net-pci,netdev=vif-{ID},id=nic-{ID},mac=fa:16:3e:95:3a:3d,mq=on,vectors=6,host_mtu=1450",
        ),
    ],
)
def test_qemus_arguments(request_: Vif, nic: Nic, arguments: str) -> None:
    assert shlex.join(qemu.arguments(request_, nic)) == arguments
    assert qemu.before(request_, nic) == []
    report = describe(request_, "qemu", nic)
    assert (report.text, report.before, report.warnings) == (arguments, (), [])


def test_comma_of_a_path_is_doubled() -> None:
    request = vif(vhost_user={"socket": "/srv/a,b/vhu1"})
    assert "path=/srv/a,,b/vhu1" in " ".join(qemu.arguments(request))


@pytest.mark.parametrize("describing", [libvirt.text, qemu.arguments])
def test_card_that_is_not_virtio_is_refused(describing: Any) -> None:
    with pytest.raises(InputError, match="needs a virtio card; 'e1000' is not"):
        describing(vif(), Nic(model="e1000"))
