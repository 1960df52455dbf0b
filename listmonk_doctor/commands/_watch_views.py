"""Owns how `watch` shows what it sees: in place on a terminal, a line per change in a pipe, or JSON lines."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from listmonk_doctor.commands._failures import say
from listmonk_doctor.commands._options import STATE, Format
from listmonk_doctor.commands._output import chosen, emit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from listmonk_doctor.diagnosis.watching import Alarm, Watch
    from listmonk_doctor.render.terminal import Screen


class View(Protocol):
    """What a watch tells as it goes on."""

    def seen(self, watch: Watch, *, changed: bool, first: bool, alarms: Sequence[Alarm]) -> None:
        """Tell of one campaign's look: its first, whether its row changed, and the alarms that it raised."""

    def lost(self, because: str) -> None:
        """Tell that the connection is lost."""

    def back(self, seconds: float) -> None:
        """Tell that it is back after so many seconds."""

    def note(self, text: str) -> None:
        """Tell something beside."""

    def ended(self, watch: Watch) -> None:
        """Tell how a campaign stood when the watch ended."""


class Lines:
    """One line per change, for a pipe."""

    def seen(self, watch: Watch, *, changed: bool, first: bool, alarms: Sequence[Alarm]) -> None:
        """Write a line where something moved (heartbeats are not told), and one per alarm."""
        from listmonk_doctor.render import pages_watch
        from listmonk_doctor.render.text import clean

        if first or (changed and _moved(watch)):
            emit([clean(pages_watch.line(watch)) + "\n"])
        emit([clean(pages_watch.warn(alarm)) + "\n" for alarm in alarms])

    def lost(self, because: str) -> None:
        """Say it on stderr."""
        say(f"The connection is lost: {because} Trying again.")

    def back(self, seconds: float) -> None:
        """Say it on stderr."""
        say(f"Connected again after {seconds:.0f} s; nobody looked in between.")

    def note(self, text: str) -> None:
        """Say it on stderr."""
        if not STATE.quiet:
            say(text)

    def ended(self, watch: Watch) -> None:
        """Write the last line."""
        from listmonk_doctor.render import pages_watch
        from listmonk_doctor.render.text import clean

        said = pages_watch.line(watch, at=watch.grown.ended)
        emit([clean(f"{said}; last written {watch.now.before:%H:%M:%S}, end of the watch") + "\n"])


class Json:
    """One JSON object per line."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._last: Watch | None = None

    def seen(self, watch: Watch, *, changed: bool, first: bool, alarms: Sequence[Alarm]) -> None:
        """Write the campaign at its first look, at each change (a heartbeat too), and at an alarm."""
        from listmonk_doctor.render import json_watch

        self._last = watch
        if first or changed:
            emit([json_watch.line(json_watch.campaign("begin" if first else "change", watch))])
        if alarms:
            emit([json_watch.line(json_watch.campaign("alarm", watch, alarms))])

    def _connection(self, event: str, because: str) -> None:
        from listmonk_doctor.render import json_watch

        at = self._last.grown.ended if self._last else None
        emit([json_watch.line(json_watch.connection("lost" if event == "lost" else "back", at, because))])

    def lost(self, because: str) -> None:
        """Write it as an object."""
        self._connection("lost", because)

    def back(self, seconds: float) -> None:
        """Write it as an object."""
        self._connection("back", f"nobody looked for {seconds:.0f} s")

    def note(self, text: str) -> None:
        """Say it on stderr."""
        if not STATE.quiet:
            say(text)

    def ended(self, watch: Watch) -> None:
        """Write how it stands, with all alarms that there were."""
        from listmonk_doctor.render import json_watch

        emit([json_watch.line(json_watch.campaign("end", watch, watch.alarms))])


class Live:
    """A page in place, on a terminal."""

    def __init__(self, screen: Screen, recording: str) -> None:
        """Take the screen to draw on, and the name of the recording ("": none)."""
        self._screen, self._recording, self._note = screen, recording, ""
        self._watches: dict[int, Watch] = {}

    def _draw(self) -> None:
        from listmonk_doctor.render import pages_watch

        pages = [pages_watch.page(watch, self._recording) for watch in self._watches.values()]
        page = tuple(block for each in pages for block in each)
        if self._note:
            from listmonk_doctor.render import document as doc

            page = (doc.Lines((self._note,), tone="warn"), *page)
        self._screen.show(page)

    def seen(self, watch: Watch, *, changed: bool, first: bool, alarms: Sequence[Alarm]) -> None:
        """Draw the page anew; a new alarm rings the bell."""
        if alarms:
            sys.stdout.write("\a")
        if changed or first:
            self._note = ""
        self._watches[watch.grown.campaign_id] = watch
        self._draw()

    def lost(self, because: str) -> None:
        """Say it above the page."""
        self._note = f"The connection is lost: {because} Trying again."
        self._draw()

    def back(self, seconds: float) -> None:
        """Say it above the page."""
        self._note = f"Connected again after {seconds:.0f} s; nobody looked in between."
        self._draw()

    def note(self, text: str) -> None:
        """Say it above the page."""
        self._note = text
        self._draw()

    def ended(self, watch: Watch) -> None:
        """Leave the last page standing."""
        self._watches[watch.grown.campaign_id] = watch
        self._draw()


def _moved(watch: Watch) -> bool:
    """Tell whether the last version differs in what a reader would see."""
    versions = watch.grown.versions
    if len(versions) == 1:
        return True
    was, now = versions[-2], versions[-1]
    return (was.status, was.sent, was.to_send, was.cursor) != (now.status, now.sent, now.to_send, now.cursor)


@contextmanager
def view(asked: Format | None, recording: str) -> Iterator[View]:
    """Give the view for the format asked for: on a terminal that can draw a page in place, else lines."""
    style = chosen(asked)
    if style is Format.JSON:
        yield Json()
        return
    if style is Format.TERMINAL and sys.stdout.isatty():
        from listmonk_doctor.render import terminal

        if not terminal.dumb(os.environ):
            with terminal.Screen(sys.stdout, os.environ) as screen:
                yield Live(screen, recording)
            return
    yield Lines()
