"""Every error vifplug raises, whose fault it is, and what to do about it.

The tree::

    VifplugError
    |-- InputError (ValueError)         the caller's: amend the request          exit 2
    |   |-- UnknownVif (LookupError)    the caller's: no such VIF is recorded    exit 2
    |   `-- UnknownKind                 the driver's: there is no such kind of resource  exit 2
    |-- ConfigError (ValueError)        the operator's: amend the configuration  exit 2
    |-- Conflict                        a name or VIF is held by something else  exit 4
    |-- NotPermitted                    the daemon does not let this peer do that      exit 1
    |-- Busy                            somebody works on this VIF: try again    exit 1
    |-- StoreError                      state_dir cannot be read or written      exit 1
    |   |-- Damaged                     a record is unreadable: plug it anew, or unplug it
    |   |-- Replaced                    the store was deleted or replaced: put it back, or start anew
    |   |-- StoreLocked                 another process keeps the store locked: try again
    |   |-- StoreFull                   no room to write: free space; unplug and repair go on
    |   `-- StoreElsewhere              its VIFs are in another network namespace
    |-- DaemonUnreachable               the named socket does not answer         exit 1
    |-- EventsLost                      those asked for are not kept any more: look at all, then follow  exit 1
    |-- NotReached                      the state waited for has not come in time: look at who is to bring it  exit 5
    |-- VifFailed                       a VIF waited for failed: see why         exit 1
    |-- HostError                       the host refused; rolled back            exit 1
    |   |-- LinkError                   the kernel refused a netlink change
    |   |-- OvsdbError                  OVSDB refused a transaction, or OVS an interface
    |   |-- OvsUnavailable              OVSDB does not answer: retry when it does
    |   |-- BridgeMissing               an OVS bridge that is not there: create it
    |   |-- ResourceMissing             another program's device that a VIF needs is not there
    |   |-- TimedOut                    a deadline passed: retry, or look at the one waited for
    |   |-- VerifyError                 done, read back, and found wrong
    |   |-- PermissionDenied            the helper refused: not ours, or not allowed
    |   `-- HelperDied                  the privileged helper ended: retry
    `-- TeardownError                   several errors of one clean-up, flat      exit 1

Every class is rebuilt on the other side of the privsep channel as ``cls(*args)``, so ``args`` holds
strings only: the message, the subject (the device, port or VIF), and the step that failed.
"""

from __future__ import annotations

from typing import ClassVar


class VifplugError(Exception):
    """Base of the tree.

    :param message: clauses that say what happened, to what, why, and what to do next.
    :param subject: the object it happened to (a device, a port, a VIF id), or "".
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
        """The same error with its step (and, where it had none, its subject) filled in."""
        return type(self)(self.message, self.subject or subject, self.step or step)


class InputError(VifplugError, ValueError):
    """The request is wrong. The caller amends it; nothing was touched."""

    exit_code = 2


class UnknownVif(InputError, LookupError):
    """No VIF of that id is recorded on this host. Nothing was touched."""


class UnknownKind(InputError):
    """A resource is of a kind that this vifplug does not have: a driver's, or a record's of another version."""


class ConfigError(VifplugError, ValueError):
    """The configuration is wrong. The operator amends it; nothing was touched."""

    exit_code = 2


class Conflict(VifplugError):
    """Another VIF or a stranger holds what is asked for. It is named, and was left alone."""

    exit_code = 4


class NotPermitted(VifplugError):
    """The daemon's peer may not do this; the operator decides about levels. Nothing was touched."""


class Busy(VifplugError):
    """Others are at work on the same thing, or too many at once, and it did not end in time. Retry."""

    retryable = True


class StoreError(VifplugError):
    """The record of what is plugged cannot be read or written. The operator looks at state_dir."""


class Damaged(StoreError):
    """A record or an intent cannot be read; the others can. The caller plugs that VIF anew, or unplugs it."""


class Replaced(StoreError):
    """Somebody deleted or replaced the store's file: what this process has open tells nothing of what is wanted.

    The operator puts it back, or whoever has it open starts anew; the daemon does so by itself.
    """


class StoreLocked(StoreError):
    """Another process keeps the store's file locked. It is named where the kernel shows it. Retry."""

    retryable = True


class StoreFull(StoreError):
    """There is no room to write what is about to be done. The operator frees space; nothing was touched."""


class StoreElsewhere(StoreError):
    """What the store records is in another network namespace of this boot. Nothing was touched."""


class DaemonUnreachable(VifplugError):
    """The daemon's socket was named and does not answer. Start the daemon, or use --local."""

    retryable = True


class EventsLost(VifplugError):
    """Events from that number on are not kept, or never were. The follower looks at every VIF, then follows anew."""


class NotReached(VifplugError):
    """A VIF is not in the state waited for, and the time is over. The message says who is to bring it there."""

    exit_code = 5
    retryable = True


class VifFailed(VifplugError):
    """A VIF that is waited for has failed; its ``error`` says why."""


class HostError(VifplugError):
    """The host refused a change. What this call had made was taken back."""


class LinkError(HostError):
    """The kernel refused a link change; the message carries its own words."""


class OvsdbError(HostError):
    """OVSDB refused a transaction, or vswitchd an interface; the message carries its own words."""


class OvsUnavailable(HostError):
    """The OVSDB server does not answer. Retry when Open vSwitch runs."""

    retryable = True


class BridgeMissing(HostError):
    """An OVS bridge is not there. vifplug never creates one: the operator does."""


class ResourceMissing(HostError):
    """A device that a VIF needs and that is another program's is not there. Whoever has it makes it; then retry."""

    retryable = True


class TimedOut(HostError):
    """A deadline passed; the message says who was waited for. Retry."""

    retryable = True


class VerifyError(HostError):
    """Everything was applied, but reading it back shows something else. Somebody else is at work, or a bug."""

    retryable = True


class PermissionDenied(HostError):
    """The privileged side refused: the object is not ours, or an argument is out of bounds."""


class HelperDied(HostError):
    """The privileged helper ended in mid-call. What was begun is taken back, or settled by the next command. Retry."""

    retryable = True


class TeardownError(VifplugError):
    """A clean-up went on past errors; the message lists them all, flat."""

    @classmethod
    def of(cls, errors: list[VifplugError], subject: str = "") -> TeardownError:
        """One error out of many, in the order they happened."""
        return cls("; ".join(str(error) for error in errors), subject)
