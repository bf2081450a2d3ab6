"""Reading back: a plug is done when the host shows what was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import tenacity

from vifplug.engine import drift
from vifplug.engine.host import Host, Scope
from vifplug.errors import OvsdbError, VerifyError
from vifplug.resources import Inventory, Observed, Resource

_SECONDS = 1.0
_PAUSE_SECONDS = 0.02
_STEP = "verify"


def verified(host: Host, resolved: Sequence[Resource], scope: Scope) -> Observed:
    """The host read back, once it is as desired.

    :raises OvsdbError: with OVS's own words, when it has an interface in error.
    :raises VerifyError: when anything else differs.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(VerifyError),
        stop=tenacity.stop_after_delay(_SECONDS),
        wait=tenacity.wait_fixed(_PAUSE_SECONDS),
        reraise=True,
    )
    return retrying(_once, host, resolved, scope)


def _once(host: Host, resolved: Sequence[Resource], scope: Scope) -> Observed:
    observed = host.observe(scope)
    items = drift.differences(resolved, observed, Inventory())
    for item in items:
        if item.attribute == "error":
            raise OvsdbError(f"ovs-vswitchd could not use port {item.subject!r}: {item.observed}", item.subject, _STEP)
    if items:
        raise VerifyError(f"read back {items[0]}; somebody else may be changing it", items[0].subject, _STEP)
    return observed
