"""Owns the bar that says, while a pass over the subscriptions or the log takes its time, how far it has come."""

from __future__ import annotations

import os
import sys
from threading import Lock, Timer
from typing import TYPE_CHECKING, Final, Self

from listmonk_doctor.commands._options import STATE

if TYPE_CHECKING:
    from types import TracebackType

    from listmonk_doctor.render.terminal import Meter

AFTER: Final = 1.0
"""Seconds before a bar appears: what is quicker shows none."""
TEXT: Final = "Reading subscriptions"


class Bar:
    """Called with how much is done and how much there is; shows it on stderr, on a terminal that can, after a second.

    With --quiet and in a pipe it shows nothing. Leaving the `with` block clears it.
    """

    def __init__(self, text: str = TEXT) -> None:
        """Make one that shows nothing yet; `text` says what is being done."""
        self._text = text
        self._live = sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
        self._lock = Lock()
        self._timer: Timer | None = None
        self._meter: Meter | None = None
        self._done, self._total = 0, 0

    def __enter__(self) -> Self:
        """Wait for the first figures."""
        return self

    def __call__(self, done: int, total: int) -> None:
        """Take the figures; a pass that is done needs no bar any more."""
        if STATE.quiet or not self._live:
            return
        with self._lock:
            self._done, self._total = done, total
            if self._meter is not None:
                self._meter.show(done, total)
            elif self._timer is None and done < total:
                # The first chunk may take long: a timer, not the next call, lets the bar appear.
                self._timer = Timer(AFTER, self._appear)
                self._timer.daemon = True
                self._timer.start()
        if done >= total:
            self._clear()

    def _appear(self) -> None:
        """Draw the bar; its library is imported only now."""
        from listmonk_doctor.render.terminal import Meter

        with self._lock:
            if self._timer is not None:
                self._meter = Meter(self._text, self._done, self._total)

    def _clear(self) -> None:
        """Let it disappear, or not appear at all."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            meter, self._meter, self._timer = self._meter, None, None
        if meter is not None:
            meter.stop()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clear the line."""
        self._clear()
