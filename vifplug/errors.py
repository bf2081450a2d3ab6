"""Every error that vifplug raises, who has to act, and what to do.

The tree::

    VifplugError
    |-- InputError (ValueError)         the caller corrects the request          exit 2
    |   |-- UnknownVif (LookupError)    the VIF is not recorded here             exit 2
    |   `-- UnknownKind                 a driver's resource has an unknown kind  exit 2
    |-- ConfigError (ValueError)        the operator corrects the configuration  exit 2
    |-- Conflict                        a name or VIF is held by something else  exit 4
    |-- NotPermitted                    the daemon does not permit this to the peer  exit 1
    |-- Busy                            another request works on this VIF: retry  exit 1
    |-- StoreError                      state_dir cannot be read or written      exit 1
    |   |-- Damaged                     a record is unreadable: plug it again, or unplug it
    |   |-- Replaced                    the store was deleted or replaced: put it back, or restart
    |   |-- StoreLocked                 another process keeps the store locked: retry
    |   |-- StoreFull                   no room to write: free space; unplug and repair still work
    |   `-- StoreElsewhere              its VIFs are in another network namespace
    |-- DaemonUnreachable               the named socket does not answer         exit 1
    |-- EventsLost                      the events are no longer stored: read all VIFs, then follow  exit 1
    |-- NotReached                      timeout of a wait: check the program that has to act  exit 5
    |-- VifFailed                       a VIF failed during a wait: read its error  exit 1
    |-- HostError                       the host refused; rolled back            exit 1
    |   |-- LinkError                   the kernel refused a netlink change
    |   |-- FilterError                 the kernel refused a change of nftables' rules
    |   |-- OvsdbError                  OVSDB refused a transaction, or OVS an interface
    |   |-- OvsUnavailable              OVSDB does not answer: retry when it does
    |   |-- BridgeMissing               an OVS bridge is missing: create it
    |   |-- ResourceMissing             another program's device that a VIF needs is missing
    |   |-- TimedOut                    a deadline passed: retry, or check the program waited for
    |   |-- VerifyError                 applied, but the read-back differs
    |   |-- PermissionDenied            the helper refused: not ours, or not allowed
    |   `-- HelperDied                  the privileged helper ended: retry
    `-- TeardownError                   several errors of one clean-up, flat      exit 1

An error crosses the privsep channel as ``cls(*args)``, so ``args`` holds strings only: the message, the subject (the
device, port or VIF), and the failed step.
"""

from __future__ import annotations

from typing import ClassVar


class VifplugError(Exception):
    """Base of the tree.

    :param message: clauses: what happened, to what, why, and what to do next.
    :param subject: the affected object (a device, a port, a VIF id), or "".
    :param step: the step that failed, as the plan prints it, or "".
    """

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, subject: str = "", step: str = "") -> None:
        super().__init__(message, subject, step)
        self.message = message
        self.subject = subject
        self.step = step

    def __str__(self) -> str:
        return self.message

    def at_step(self, step: str, subject: str = "") -> VifplugError:
        """The same error with its step and subject, where it has none."""
        return type(self)(self.message, self.subject or subject, self.step or step)


class InputError(VifplugError, ValueError):
    """The request is wrong. The caller corrects it; nothing was changed."""

    exit_code = 2


class UnknownVif(InputError, LookupError):
    """No VIF of that id is recorded on this host. Nothing was changed."""


class UnknownKind(InputError):
    """This vifplug does not have a resource's kind: of a driver, or of another version's record."""


class ConfigError(VifplugError, ValueError):
    """The configuration is wrong. The operator corrects it; nothing was changed."""

    exit_code = 2


class Conflict(VifplugError):
    """Another VIF, or something that vifplug did not make, holds a name or an identity. The message names the holder,
    which was not changed."""

    exit_code = 4


class NotPermitted(VifplugError):
    """The daemon's peer may not do this; the operator configures levels. Nothing was changed."""


class Busy(VifplugError):
    """Another request works on the same VIF, or too many requests run, and none ended in time. Retry."""

    retryable = True


class StoreError(VifplugError):
    """The store cannot be read or written. The operator checks state_dir."""


class Damaged(StoreError):
    """A record or an intent cannot be read; the others can. The caller plugs that VIF again, or unplugs it."""


class Replaced(StoreError):
    """The store's file was deleted or replaced: this process has an outdated file open.

    The operator puts the file back, or restarts the process; the daemon restarts its worker by itself.
    """


class StoreLocked(StoreError):
    """Another process keeps the store's file locked. The message names it if the kernel shows it. Retry."""

    retryable = True


class StoreFull(StoreError):
    """There is no room to write the intent. The operator frees space; nothing was changed."""


class StoreElsewhere(StoreError):
    """The store's VIFs are in another network namespace of this boot. Nothing was changed."""


class DaemonUnreachable(VifplugError):
    """The named socket of the daemon does not answer. Start the daemon, or use --local."""

    retryable = True


class EventsLost(VifplugError):
    """Events after that number are no longer stored, or never were. The follower reads all VIFs, then follows again."""


class NotReached(VifplugError):
    """Timeout: a VIF is not in the awaited state. The message names the program that has to act."""

    exit_code = 5
    retryable = True


class VifFailed(VifplugError):
    """A VIF failed during a wait; its ``error`` has the reason."""


class HostError(VifplugError):
    """The host refused a change. This call's changes were rolled back."""


class LinkError(HostError):
    """The kernel refused a link change; the message quotes it."""


class FilterError(HostError):
    """The kernel refused a change of the rules that filter guests' frames; the message quotes it."""


class OvsdbError(HostError):
    """OVSDB refused a transaction, or vswitchd an interface; the message quotes it."""


class OvsUnavailable(HostError):
    """The OVSDB server does not answer. Retry when Open vSwitch runs."""

    retryable = True


class BridgeMissing(HostError):
    """An OVS bridge is missing. vifplug never creates one; the operator does."""


class ResourceMissing(HostError):
    """Another program's device that a VIF needs is missing. That program has to create it; then retry."""

    retryable = True


class TimedOut(HostError):
    """A deadline passed; the message names the program waited for. Retry."""

    retryable = True


class VerifyError(HostError):
    """Everything was applied, but the read-back differs: another program interfered, or a bug."""

    retryable = True


class PermissionDenied(HostError):
    """The privileged side refused: the object is not ours, or an argument is out of bounds."""


class HelperDied(HostError):
    """The privileged helper ended during a call. Begun work is rolled back, or settled by the next command. Retry."""

    retryable = True


class TeardownError(VifplugError):
    """A clean-up continued past errors; the message lists all of them."""

    @classmethod
    def of(cls, errors: list[VifplugError], subject: str = "") -> TeardownError:
        """An error that joins several, in their order."""
        return cls("; ".join(str(error) for error in errors), subject)
