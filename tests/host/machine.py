"""A booted Debian host under QEMU's emulation: started, run commands in, rebooted, ended.

What bites: a spawn takes 60 times as long as on the machine outside, and a service's first start of Python 15 to 30 s.
So it is booted once, what is to be checked comes in few batches, and time-outs are long.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

BOOT_SECONDS = 900.0
_END_SECONDS = 30.0
_POLL_SECONDS = 0.2
_MEMORY_MIB, _PROCESSORS = 3072, 2
_NICS = 2


class Failed(Exception):
    """The machine does not do what every check stands on."""


class Machine:
    """One machine, with a disk of its own made of ``base.img``; a context manager.

    :param work: the directory that ``build`` has filled.
    """

    def __init__(self, work: Path) -> None:
        self.work = work
        self.share = work / "share"
        self.console = work / "console.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._jobs = 0

    def __enter__(self) -> Self:
        shutil.rmtree(self.share, ignore_errors=True)
        (self.share / "jobs").mkdir(parents=True)
        disk = self.work / "disk.img"
        subprocess.run(["cp", "--sparse=always", self.work / "base.img", disk], check=True)
        options: dict[str, str] = {
            "-accel": "tcg,thread=multi,tb-size=1024",
            "-cpu": "max",
            "-smp": str(_PROCESSORS),
            "-m": str(_MEMORY_MIB),
            "-M": "q35",
            "-display": "none",
            "-serial": f"file:{self.console}",
            "-kernel": str(self.work / "vmlinuz"),
            "-initrd": str(self.work / "initrd"),
            "-drive": f"file={disk},if=virtio,format=raw,cache=unsafe",
            "-fsdev": f"local,id=share,path={self.share},security_model=none",
            "-device": "virtio-9p-pci,fsdev=share,mount_tag=share",
            "-append": "intel_iommu=on iommu=pt console=ttyS0 mitigations=off nokaslr tsc=reliable panic=-1 rw",
        }
        network = ["-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net,romfile="]
        for number in range(_NICS):  # with virtual functions, each behind a port of its own, for which they need ARI
            network += ["-device", f"pcie-root-port,id=port{number},chassis={number}"]
            network += ["-netdev", f"user,id=nic{number},restrict=on"]
            network += ["-device", f"igb,bus=port{number},netdev=nic{number},romfile="]
        qemu = self.work / "qemu" / "usr"
        firmware = ["-L", str(qemu / "share" / "qemu"), "-L", str(qemu / "share" / "seabios")]
        argv = [str(qemu / "bin" / "qemu-system-x86_64"), "-nodefaults", *firmware]
        # Before all devices: through it a guest's VMM is given a virtual function.
        argv += ["-device", "intel-iommu", *(word for pair in options.items() for word in pair), *network]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        try:
            self.await_boot(1)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it, as by pulling the plug."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_END_SECONDS)

    def await_boot(self, number: int) -> None:
        """Return once it has booted so many times.

        :raises Failed: when it does not.
        """
        boots = self.share / "boots"
        deadline = time.monotonic() + BOOT_SECONDS
        while not boots.exists() or len(boots.read_text().split()) < number:
            self._must_live()
            if time.monotonic() > deadline:
                raise Failed(f"boot {number} did not end within {BOOT_SECONDS:.0f} s; see {self.console}")
            time.sleep(_POLL_SECONDS)

    def _must_live(self) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise Failed(f"QEMU ended with status {self._process.returncode}; see {self.console}")

    def run(self, script: str, seconds: float, line: Callable[[str], None]) -> int:
        """Run a shell script as root; each line of its output is handed on as it comes.

        :returns: its exit status.
        :raises Failed: when it does not end in time.
        """
        self._jobs += 1
        job = self.share / "jobs" / f"{self._jobs:04}"
        job.with_suffix(".new").write_text(script)
        os.rename(job.with_suffix(".new"), job.with_suffix(".sh"))
        deadline = time.monotonic() + seconds
        lines = _Lines(job.with_suffix(".out"))
        while not job.with_suffix(".rc").exists():
            self._must_live()
            for text in lines.whole():
                line(text)
            if time.monotonic() > deadline:
                raise Failed(f"no answer within {seconds:.0f} s: {script.splitlines()[-1]}")
            time.sleep(_POLL_SECONDS)
        for text in lines.whole():
            line(text)
        return int(job.with_suffix(".rc").read_text())


class _Lines:
    """The whole lines that a file gains."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def whole(self) -> Iterator[str]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._offset += end
        yield from data[:end].decode(errors="replace").splitlines()
