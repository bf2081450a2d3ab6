"""The verb that tells a hypervisor's user what to give it."""

from __future__ import annotations

from vifplug.cli import documents
from vifplug.cli.arguments import Options
from vifplug.cli.contract import Opener, Outcome
from vifplug.guest.nic import Nic
from vifplug.limits import VIRTIO


def guest(options: Options, opener: Opener) -> Outcome:
    """Print what a hypervisor needs for a VIF.

    :raises errors.InputError: when the guest's card cannot be so.
    """
    (vif_id,) = documents.ids(options.ids)
    nic = Nic(model=VIRTIO if options.model is None else options.model, queues=options.queues)
    with opener(options) as host:
        found = host.guest(vif_id, options.format, model=nic.model, queues=nic.queues)
    return Outcome(document=found.as_json(), text=lambda _: found.text, warnings=found.warnings)
