"""Objects that a ``with`` block starts and ends."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Started:
    """Starts at the beginning of a ``with`` block, and closes at its end; also when the start fails half way."""

    def start(self) -> Self:
        """Start it."""
        raise NotImplementedError

    def close(self) -> None:
        """End it, as far as it has started."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
