"""Owns the machinery of the sender's model: a server's scan, fetching loop, window, queue and workers."""

from __future__ import annotations

import math
import random
from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from tests.support.model_parts import BEHAVIOURS, Campaign, Pipe, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

SCAN_EVERY: Final = 5_000
"""Milliseconds between two scans."""
_REST: Final = 1_000
"""Milliseconds that a worker rests, its next message in hand, when it has used up its message rate."""
_PACES: Final = (1, 2, 3, 5)
"""Milliseconds that a worker takes for one message, drawn anew for each second: the front is ragged."""
_LATE: Final = 0.5
"""With races: how often the last message of a run is counted too late."""
_TWICE: Final = 0.1
"""With races: how often a scan adds the last count of a run again."""
_NEVER: Final = 2**60
_WAKE, _SENT, _AWAKE = range(3)


class Server:
    """A listmonk server on a simulated clock of milliseconds, with all of its campaigns."""

    def __init__(
        self,
        version: str,
        settings: Settings,
        *,
        seed: int = 0,
        races: bool = False,
        relay_seconds: float = 0.0,
    ) -> None:
        """Start it at second 0."""
        self.clock = 0
        self.campaigns: list[Campaign] = []
        self._relay = round(relay_seconds * 1000)
        self._chance = random.Random(seed)  # noqa: S311 - a reproducible order of events, no secret
        self.races = races
        self._noise = settings.concurrency if races else 0  # a message per worker, in the whole life of a server
        self.lose_flush = False
        self.fail_fetch = False
        self.boot(version, settings)

    # ---- a server's life

    def boot(self, version: str, settings: Settings) -> None:
        """Start a server with nothing in memory; its first scan comes after five seconds."""
        self.version = version
        self.behaviour = BEHAVIOURS[version]
        self.settings = settings
        per_worker = 2 * settings.message_rate if self.behaviour.pipes else 2
        self._capacity = settings.concurrency * per_worker
        self._window = settings.window and settings.window_rate > 0 and settings.window_seconds > 1
        self._booted = self._window_start = self.clock
        self._forget()
        self._idle.extend(range(settings.concurrency))
        self.alive = True

    def kill(self) -> None:
        """End the server as SIGKILL, SIGTERM, a crash or the page's Restart do: nothing more is written."""
        self._forget()
        self.alive = False

    def _forget(self) -> None:
        workers = self.settings.concurrency
        self.open: dict[Campaign, Pipe] = {}
        self.queue: deque[tuple[Pipe, int]] = deque()
        self.rest: deque[int] = deque()
        self.fetching: Pipe | None = None
        self.hand: list[tuple[Pipe, int] | None] = [None] * workers
        self._waiting: deque[Pipe] = deque()
        self._idle: list[int] = []
        self._count = [0] * workers
        self._pace = [self._chance.choice(_PACES) for _ in range(workers)]
        self._events: list[tuple[int, int, int, int]] = []
        self._order = 0
        self._window_count = self._asleep_until = 0
        for campaign in self.campaigns:
            campaign.errors = 0

    def hold(self, seconds: float) -> None:
        """Let the fetching loop sleep, as where another campaign has used up the window."""
        self._asleep_until = self.clock + round(seconds * 1000)
        self._at(round(seconds * 1000), -1, _AWAKE)

    # ---- the clock

    def advance(self, until: int, stop: Callable[[], bool] | None = None) -> bool:
        """Play on until the clock shows `until` (milliseconds) or `stop` says so; tell whether `stop` did."""
        scan = self._tick_after(self.clock)
        while self.alive:
            if stop is not None and stop():
                return True
            if not (self._events or self.open):
                scan = max(scan, self._tick_after(self._next_due() - 1))
            event = self._events[0][0] if self._events else until + 1
            if min(scan, event) > until:
                break
            if scan <= event:
                self.clock = scan
                self._scan()
                scan = self._tick_after(scan)
            else:
                self.clock, _, worker, kind = heappop(self._events)
                if kind == _WAKE:
                    self._count[worker] = 0
                    self._pace[worker] = self._chance.choice(_PACES)
                    self._send(worker)
                elif kind == _SENT:
                    self._finish_message(worker)
            self._move()
        self.clock = max(self.clock, until)
        return stop is not None and stop()

    def next_scan(self) -> int:
        """Return when the next scan comes, in milliseconds of the clock."""
        return self._tick_after(self.clock)

    def _tick_after(self, moment: int) -> int:
        return self._booted + SCAN_EVERY * max(1, (moment - self._booted) // SCAN_EVERY + 1)

    def _next_due(self) -> int:
        """Return when some row will next want a pick-up, so that idle years cost nothing."""
        due = [self.clock for campaign in self.campaigns if campaign.row.status == "running"]
        due += [
            math.ceil((campaign.row.send_at or 0) * 1000)
            for campaign in self.campaigns
            if campaign.row.status == "scheduled"
        ]
        return max(self.clock, min(due, default=_NEVER))

    def _at(self, milliseconds: int, worker: int, kind: int) -> None:
        self._order += 1
        heappush(self._events, (self.clock + milliseconds, self._order, worker, kind))

    def touch(self, campaign: Campaign, status: str | None = None) -> None:
        """Write a status and the time into a row, as each statement does that changes one."""
        campaign.row.updated_at = self.clock / 1000
        if status is not None:
            campaign.row.status = status

    # ---- the scan

    def _scan(self) -> None:
        if self.behaviour.pipes:
            for campaign, pipe in self.open.items():
                if self.lose_flush:  # the count is zeroed before the UPDATE that fails
                    campaign.unflushed += pipe.sent
                else:
                    campaign.row.sent += pipe.sent
                pipe.sent = 0
            self.lose_flush = False
        now = self.clock / 1000
        for campaign in self.campaigns:
            row = campaign.row
            due = row.status == "scheduled" and row.send_at is not None and row.send_at <= now
            if campaign not in self.open and (due or row.status == "running"):
                self._pick_up(campaign, now)

    def _pick_up(self, campaign: Campaign, now: float) -> None:
        row = campaign.row
        to_send, ceiling = campaign.count(self.behaviour)
        if to_send or not self.behaviour.nobody_leaves_row:
            # Once a count stands in the cursor, and to_send is another, nothing tells that it was overwritten.
            campaign.started_over |= campaign.overwrites > 0 and to_send != row.to_send
            row.to_send, row.max_subscriber_id, row.status = to_send, ceiling, "running"
            if row.started_at is None:
                row.started_at = now
                campaign.audience_at_start = campaign.people
            campaign.counted.append(campaign.people)
        self.open[campaign] = pipe = Pipe(campaign)
        self._waiting.append(pipe)

    # ---- the fetching loop and the window

    def _move(self) -> None:
        """Let the fetching loop and the idle workers do all that takes no time."""
        moved = True
        while moved:
            moved = self._push()
            while self.queue and self._idle:
                moved = True
                pipe, person = self.queue.popleft()
                if pipe.stopped:
                    if pipe.campaign.row.status == "running":
                        pipe.campaign.dropped.add(person)
                    self._done(pipe)
                    continue
                worker = self._idle.pop()
                self.hand[worker] = pipe, person
                if self._count[worker] >= self.settings.message_rate:
                    self._at(_REST, worker, _WAKE)
                else:
                    self._send(worker)

    def _push(self) -> bool:
        moved = False
        while self.clock >= self._asleep_until:
            if self.rest:
                if len(self.queue) >= self._capacity:
                    break
                moved = True
                person = self.rest.popleft()
                pipe = self.fetching
                if pipe is None or person in pipe.campaign.unrenderable:
                    continue
                pipe.pending += 1
                self.queue.append((pipe, person))
                if self._window:
                    self._count_in_window()
            elif self.fetching is not None:
                self._waiting.append(self.fetching)
                self.fetching = None
            elif self._waiting:
                moved = True
                self._fetch(self._waiting.popleft())
            else:
                break
        return moved

    def _fetch(self, pipe: Pipe) -> None:
        campaign, row = pipe.campaign, pipe.campaign.row
        if row.status == "running" and self._fetch_fails(campaign):
            return
        batch = self._one_of_two(campaign, campaign.next_batch(self.settings.batch_size, self.behaviour))
        if batch:
            row.last_subscriber_id = batch[-1]
            if not self.behaviour.pipes:
                row.sent += len(batch)
            self.touch(campaign)
            campaign.fetches.append((batch[-1], len(batch)))
            campaign.started_over |= campaign.overwrites > 0
            self.fetching = pipe
            self.rest.extend(batch)
        elif self.behaviour.pipes:
            self._done(pipe)
        elif campaign in self.open:
            del self.open[campaign]
            if row.status == "running":
                self.touch(campaign, "finished")

    def _fetch_fails(self, campaign: Campaign) -> bool:
        """Tell whether a fetch fails, which leaves its pipe in the map for ever (later versions: tried again)."""
        broken = campaign.list_gone and self.behaviour.gone_list_fails
        if self.behaviour.failed_fetch_hangs and (broken or self.fail_fetch):
            self.fail_fetch = False
            return True
        return False

    def _one_of_two(self, campaign: Campaign, batch: tuple[int, ...]) -> tuple[int, ...]:
        """Leave out of a batch whom an arbitrary one of their subscriptions leaves out (M12)."""
        if not (self.behaviour.one_list_decides and campaign.mixed):
            return batch
        return tuple(person for person in batch if person not in campaign.mixed or self._chance.random() < 0.5)

    def _count_in_window(self) -> None:
        length = round(self.settings.window_seconds * 1000)
        age = self.clock - self._window_start
        if age >= length:
            self._window_start = self.clock
            self._window_count = 0
            if not self.behaviour.opener_counts:
                return
        self._window_count += 1
        if self._window_count >= self.settings.window_rate:
            self._window_count = 0
            if age < length:
                self._asleep_until = self.clock + length - age
                self._at(length - age, -1, _AWAKE)

    # ---- workers, pipes and their end

    def _send(self, worker: int) -> None:
        self._count[worker] += 1
        self._at(self._relay + self._pace[worker], worker, _SENT)

    def _finish_message(self, worker: int) -> None:
        message = self.hand[worker]
        if message is None:
            return
        pipe, person = message
        self.hand[worker] = None
        self._idle.append(worker)
        campaign = pipe.campaign
        if person in campaign.fails:
            campaign.failed.add(person)
            self._count_error(pipe)
        else:
            campaign.mails[person] = campaign.mails.get(person, 0) + 1
            # A real worker counts a message down before it stores count and id: each of them may be too late.
            late = pipe.pending <= self.settings.concurrency and pipe.last > 0 and self._noise > 0
            count_late = late and self._chance.random() < _LATE
            id_late = late and self._chance.random() < _LATE
            self._noise -= count_late or id_late
            campaign.late += count_late or id_late
            if not count_late:
                pipe.sent += 1
            if not id_late:
                pipe.last = max(pipe.last, person)
        if self.behaviour.pipes:
            self._done(pipe)

    def _count_error(self, pipe: Pipe) -> None:
        limit = self.settings.max_send_errors
        if limit < 1:
            return
        if self.behaviour.pipes:
            pipe.errors += 1
            if pipe.errors >= limit and not pipe.stopped:
                pipe.stopped = pipe.with_errors = True
            return
        campaign = pipe.campaign
        campaign.errors += 1
        if campaign.errors >= limit:
            campaign.errors = 0
            if self.open.pop(campaign, None) is not None:
                self.touch(campaign, "paused")

    def _done(self, pipe: Pipe) -> None:
        pipe.pending -= 1
        if pipe.pending:
            return
        campaign, row = pipe.campaign, pipe.campaign.row
        row.sent += pipe.sent
        # A real pipe stays in the map while the notification is mailed: a scan may add its count again.
        if self.races and not pipe.stopped and not campaign.doubled and self._chance.random() < _TWICE:
            row.sent += pipe.sent
            campaign.doubled += pipe.sent
        if pipe.last:
            row.last_subscriber_id = pipe.last
        elif self.behaviour.count_into_cursor:
            row.last_subscriber_id = row.to_send
            campaign.overwrites += 1
        self.touch(campaign)
        del self.open[campaign]
        if pipe.with_errors:
            self.touch(campaign, "paused")
        elif not pipe.stopped or self.behaviour.stopped_may_finish:
            ends = ("running", "scheduled") if self.behaviour.finishes_scheduled else ("running",)
            if row.status in ends:
                self.touch(campaign, "finished")
