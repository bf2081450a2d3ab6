"""The program ``vifplug-neutron-agent``."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any

import neutron.conf.agent.common
import neutron.conf.plugins.ml2.drivers.agent
import neutron.conf.service
from neutron.common import config as common_config
from oslo_config import cfg
from oslo_service import service

from vifplug.api import remote
from vifplug.api.contract import Host
from vifplug.errors import ConfigError, DaemonUnreachable, VifplugError
from vifplug.model import backoff
from vifplug.neutron import binding, host_setup, options, taps
from vifplug.neutron.bridges import Bridges
from vifplug.neutron.host_setup import HostSetup
from vifplug.neutron.loop import AgentLoop
from vifplug.neutron.plugging import Plugging

LOG = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _PAUSE_MAX_SECONDS = 0.5, 10.0


def main() -> None:
    """Run until a signal ends it. A wrong configuration is one line, and exit status 1."""
    neutron.conf.plugins.ml2.drivers.agent.register_agent_opts(cfg.CONF)
    group = options.register(cfg.CONF, options.AGENT_OPTIONS)
    common_config.register_common_config_options()
    common_config.init(sys.argv[1:])
    common_config.setup_logging()
    common_config.setup_gmr()
    neutron.conf.agent.common.setup_privsep()
    neutron.conf.service.register_service_opts(neutron.conf.service.RPC_EXTRA_OPTS, cfg.CONF)
    with taps.only_one(binding.BINARY) as is_only:
        if not is_only:
            _end(f"another {binding.BINARY} runs on this host; end it first")
        try:
            setup = _setup(group)
        except ConfigError as error:
            _end(str(error))
        _run(group, setup)


def _run(group: Any, setup: HostSetup) -> None:
    wake = threading.Event()
    plugging = Plugging(lambda: _connect(group), setup, prevents_spoofing=group.prevent_spoofing)
    if group.prevent_spoofing and not setup.filters:
        LOG.warning("guests are not limited to their addresses: vifplugd's [filter] enabled is false")
    loop = AgentLoop(Bridges(plugging, wake), wake, group.polling_interval, cfg.CONF.AGENT.quitting_rpc_timeout)
    LOG.info("%s runs with %s", binding.BINARY, host_setup.configurations(setup))
    service.launch(cfg.CONF, loop, restart_method="mutate").wait()


def _setup(group: Any) -> HostSetup:
    """This host's setup; waits for vifplugd.

    :raises ConfigError: naming the wrong option.
    """
    failures = 0
    while True:
        try:
            with _connect(group) as host:
                setup = host_setup.of_host(host.host_info(), l2_population=group.l2_population, devices=taps.devices())
            break
        except ConfigError:
            raise
        except VifplugError as error:
            if isinstance(error, DaemonUnreachable) and isinstance(error.__cause__, PermissionError):
                raise ConfigError(str(error), group.socket) from error
            failures += 1
            if failures == 1:
                LOG.warning("waiting for vifplugd: %s", error)
            time.sleep(backoff.pause(failures, _FIRST_PAUSE_SECONDS, _PAUSE_MAX_SECONDS))
    if setup.tunnel_address and not taps.has_address(setup.tunnel_address):
        raise ConfigError(
            f"no device of this host has address {setup.tunnel_address}, vifplugd's [bridge] vxlan_local_ip; give it "
            "to one, or correct the option",
            "vxlan_local_ip",
        )
    return setup


def _connect(group: Any) -> Host:
    return remote.connect(group.socket, timeout=group.timeout)


def _end(reason: str) -> None:
    LOG.error("%s", reason)
    sys.exit(f"{binding.BINARY}: {reason}")
