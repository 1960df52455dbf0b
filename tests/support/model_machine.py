"""Owns the state machine that makes histories of a campaign, and the looks at what is said of each at its end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from listmonk_doctor.diagnosis.closer import look_closer
from listmonk_doctor.diagnosis.scan import examine_closely, run_checks
from listmonk_doctor.listmonk.versions import parse
from listmonk_doctor.repair.diagnose import diagnose_in
from tests.engine_model import BEHAVIOURS, VERSIONS, Settings
from tests.support.holding import assert_true
from tests.support.model_history import CHANGES, History, later, make_lists
from tests.support.model_rows import CAMPAIGN, RECORDED, write_history
from tests.support.model_truth import truth_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

SHORT = st.one_of(st.floats(0, 1), st.floats(0, 6), st.sampled_from([0.0, 0.05, 1.0, 5.0, 5.05]))
PARTS = st.floats(0, 0.7)
AT_A_FETCH = st.sampled_from([0.0, 0.001, 0.004, 0.02, 0.3, 0.999, 1.001])
PLACES = st.floats(0, 0.9999)


class Histories(RuleBasedStateMachine):
    """A campaign to which anything can happen; at the end everything that is said of it is held against the truth."""

    places: ClassVar[Mapping[str, psycopg.Connection[Any]]] = {}
    """Per version a connection to a database with listmonk's empty tables."""
    version = VERSIONS[-1]
    """The version under which a history begins."""
    churn = True
    """Whether the lists change, mails fail and settings are changed."""

    history: History

    def __init__(self) -> None:
        """Make a machine without a history."""
        super().__init__()
        self.ends = "go on"
        self.strange = False

    # ---- how it begins

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Draw lists and settings, and press Start."""
        draw = data.draw
        people = draw(st.sampled_from([1, 7, 40, 90, 150, 230, 310]), label="people") + draw(st.integers(0, 79))
        first, step = draw(st.sampled_from([1, 50, 1000])), draw(st.integers(1, 3))
        ids = [first + index * step for index in range(people)]
        some = st.lists(st.sampled_from(ids), max_size=12)
        plain = not self.churn or draw(st.booleans(), label="plain")
        kind = "regular" if plain else draw(st.sampled_from(["regular", "regular", "optin"]))
        optin = "double" if kind == "optin" else draw(st.sampled_from(["single", "double"]))
        second = [] if plain else draw(st.one_of(st.just([]), some, st.just(ids[::2])))
        lists = make_lists(
            ids,
            optin=optin,
            kind=kind,
            second=second,
            second_optin="double" if kind == "optin" else draw(st.sampled_from(["single", "double"])),
            unconfirmed=[] if plain else draw(st.one_of(some, _stretch(ids))),
            unsubscribed=[] if plain else draw(some),
            blocklisted=[] if plain else draw(st.one_of(some, _stretch(ids))),
        )
        self.history = History(
            self.version,
            draw(settings(), label="settings"),
            lists,
            seed=draw(st.integers(0, 9)),
            races=not plain and draw(st.booleans(), label="races"),
            relay_seconds=draw(st.sampled_from([0.0, 0.0, 0.1, 0.6]), label="relay"),
        )
        campaign = self.history.sender.campaign
        if not plain and draw(st.integers(0, 3)) == 0:
            campaign.fails = frozenset(draw(some))
            campaign.unrenderable = frozenset(draw(some))
        if not plain:
            self.history.views = dict.fromkeys(draw(some), -1.0)  # a test send's marks
        self.strange = not plain and draw(st.integers(0, 3), label="strange") == 0
        self.history.wait(draw(st.sampled_from([0.1, 7.0])))
        if draw(st.integers(0, 9)) == 9:
            self.history.sender.schedule(self.history.sender.now + draw(st.sampled_from([-1.0, 8.0])))
        else:
            self.history.button("start")
        self.ends = draw(st.sampled_from(["go on", "as it is", "pause", "go on"]), label="ends")
        self.history.wait(6.0)
        self.history.send(draw(PARTS), draw(SHORT))

    # ---- time, buttons, stops

    @rule(part=PARTS, seconds=SHORT)
    def send(self, part: float, seconds: float) -> None:
        """Let time pass while it is sent."""
        self.history.send(part, seconds)

    @rule(part=PARTS, seconds=AT_A_FETCH)
    def wait_for_a_fetch(self, part: float, seconds: float) -> None:
        """Let time pass to just behind a fetch."""
        self.history.send(part)
        self.history.wait_for_a_fetch(seconds)

    @rule(part=PARTS, seconds=SHORT, again=st.booleans())
    def accident(self, part: float, seconds: float, again: bool) -> None:
        """End the server while it sends, and mostly start it again."""
        self.history.send(part, seconds)
        self.history.stop()
        if again:
            self.history.boot()

    @rule(part=PARTS, seconds=st.sampled_from([0.0, 0.002, 0.01, 0.1]))
    def accident_at_a_scan(self, part: float, seconds: float) -> None:
        """End the server just after it has written its count, and start it again."""
        self.history.send(part)
        self.history.wait_for_a_scan(seconds)
        self.history.stop()
        self.history.boot()

    @rule(part=PARTS, seconds=AT_A_FETCH)
    def accident_at_a_fetch(self, part: float, seconds: float) -> None:
        """End the server just behind a fetch, and start it again."""
        self.history.send(part)
        self.history.wait_for_a_fetch(seconds)
        self.history.stop()
        self.history.boot()

    @rule(part=PARTS, seconds=SHORT, again=st.booleans())
    def pause(self, part: float, seconds: float, again: bool) -> None:
        """Press Pause while it sends, and perhaps Start."""
        self.history.send(part)
        self.history.button("pause")
        self.history.wait(seconds)
        if again:
            self.history.button("start")

    @rule(more=st.sampled_from([0.5, 1.5, 6.0]), again=st.booleans())
    def pause_at_the_pick_up(self, more: float, again: bool) -> None:
        """Press Pause before a run has sent anything, and perhaps Start."""
        self.history.pause_at_the_pick_up(more)
        if again:
            self.history.button("start")

    @rule(seconds=SHORT)
    def start(self, seconds: float) -> None:
        """Start server and campaign where they are not, and wait."""
        self.history.boot()
        self.history.button("start")
        self.history.wait(seconds)

    # ---- what does not happen on a quiet day

    @precondition(lambda self: self.churn)
    @rule(data=st.data())
    def boot_otherwise(self, data: st.DataObject) -> None:
        """Start the server with other settings or as a later version."""
        self.history.stop()
        version = data.draw(st.sampled_from([self.history.version, *later(self.history.version)]), label="version")
        self.history.boot(data.draw(st.one_of(st.none(), settings()), label="settings"), version)

    @precondition(lambda self: self.churn)
    @rule(changes=st.lists(st.tuples(st.sampled_from(CHANGES), PLACES), min_size=1, max_size=6))
    def change(self, changes: list[tuple[str, float]]) -> None:
        """Let things happen to people of the lists."""
        for what, place in changes:
            people = sorted(self.history.lists.people)
            if people:
                self.history.change(what, people[int(place * len(people))])

    @precondition(lambda self: self.churn)
    @rule(places=st.lists(PLACES, max_size=12))
    def view(self, places: list[float]) -> None:
        """Let some who were mailed open it."""
        mailed = sorted(self.history.sender.mails)
        for place in places if mailed else []:
            self.history.views[mailed[int(place * len(mailed))]] = self.history.sender.now

    @precondition(lambda self: self.strange)
    @rule(gone=st.booleans())
    def end_it(self, gone: bool) -> None:
        """Delete the second list or the only one, or press Cancel."""
        if gone:
            self.history.delete_list(max(self.history.lists.optins, default=0))
        else:
            self.history.button("cancel")

    @precondition(lambda self: self.churn)
    @rule(what=st.sampled_from(["lose_flush", "fail_fetch"]))
    def fail(self, what: str) -> None:
        """Let the next statement of the server fail."""
        setattr(self.history.sender.server, what, True)

    @precondition(lambda self: self.churn)
    @rule(places=st.lists(PLACES, max_size=30))
    def refuse(self, places: list[float]) -> None:
        """Let the relay refuse some people from now on."""
        people = sorted(self.history.lists.people)
        if people:
            self.history.sender.campaign.fails = frozenset(people[int(place * len(people))] for place in places)

    # ---- how it ends

    def teardown(self) -> None:
        """Hold everything that is said of the history against the truth."""
        if not hasattr(self, "history"):
            return
        if self.ends == "go on":
            self.history.go_on()
        elif self.ends == "pause":
            self.history.button("pause")
            self.history.wait(60.0)
        check(self.places, self.history)


class Accidents(Histories):
    """Histories in which nothing but time, buttons and stops come to a campaign: no assumption hides a mistake."""

    churn = False


def settings() -> st.SearchStrategy[Settings]:
    """Draw settings; windows in one of three."""
    return st.builds(
        lambda batch, workers, rate, window, errors: Settings(
            batch, workers, rate, bool(window[0]), window[0], float(window[1]), errors
        ),
        st.one_of(st.integers(1, 20), st.integers(1, 120)),
        st.integers(1, 5),
        st.integers(1, 4),
        st.one_of(st.just((0, 0)), st.just((0, 0)), st.tuples(st.integers(5, 100), st.integers(2, 30))),
        st.sampled_from([1000, 1000, 0, 3]),
    )


def _stretch(ids: list[int]) -> st.SearchStrategy[list[int]]:
    """Draw neighbours, so many that a whole batch can be of them."""
    places = st.integers(0, len(ids))
    return st.tuples(places, places).map(lambda ends: ids[min(ends) : max(ends)][:150])


def check(places: Mapping[str, psycopg.Connection[Any]], history: History) -> None:
    """Put the rows of a history into PostgreSQL, diagnose it, and hold what is said against what happened."""
    sender, conn = history.sender, places[history.version]
    truth = truth_of(history)
    note(f"{history.versions} {history.settings} {sender.row} stops {history.stops} unseen {truth.unseen}")
    note(f"false: {sorted(truth.contradicted)}; missed {len(truth.missed)} of {len(truth.at_start)}")
    server = SimpleNamespace(
        running=sender.alive,
        scanners=int(sender.alive),
        because="played",
        xmin={},
        pipes={CAMPAIGN: "open" if sender.pipe_open else "none"},
    )
    conn.execute("BEGIN; SET LOCAL jit = off; SET LOCAL search_path = public; SET LOCAL TimeZone = 'UTC'")
    try:
        write_history(conn, history)
        with conn.cursor() as cur:
            diagnosis = diagnose_in(cur, [CAMPAIGN], server=server)[CAMPAIGN]  # type: ignore[arg-type]
            tag = RECORDED.get(history.version, f"v{history.version}")
            ran = run_checks(cur, parse(tag), server="alive" if sender.alive else "none")
            looked = look_closer(cur, ran.findings, examine_closely)
    finally:
        conn.execute("ROLLBACK")
    assert not ran.failed
    assert not looked.failed
    seen = diagnosis.examination
    note(f"{seen.verdict} {seen.account} {[a.code for a in seen.assumptions]}")
    note(f"{ {name: len(ids) for name, ids in seen.recipients.groups().items()} }")
    assert_true(diagnosis, truth, f"v{history.version}")
    if harmless(history):
        assert seen.verdict != "incomplete" or truth.noise, "nobody was lost, and it is called incomplete"
        allowed = (*DANGER, "LM101") if truth.noise else DANGER
        errors = [found for found in looked.findings if found.severity == "error" and found.code not in allowed]
        assert not errors, f"nobody was lost: {errors}"


DANGER = ("LM108",)
"""Checks that tell of a danger, which is there whether or not somebody was lost."""


def harmless(history: History) -> bool:
    """Tell whether nobody was lost and nobody will be: whoever was fetched was mailed, refused or is in good hands."""
    sender, row = history.sender, history.sender.row
    if sender.campaign.overwrites or sender.campaign.dropped or not BEHAVIOURS[history.version].pipes:
        return False
    truth = truth_of(history)
    below = {person for person in truth.missed if person <= row.last_subscriber_id}
    lost = below - truth.failed - sender.campaign.unrenderable - sender.in_flight
    left = truth.missed - below if row.status == "finished" else frozenset()
    return not lost and not left
