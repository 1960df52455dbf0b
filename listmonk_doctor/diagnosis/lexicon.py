"""Owns the explanation of the causes M1 to M18: what happens, what it leaves in the row, what to do.

Read from the sending engine of each version and tried on real servers; the versions are those of `causes`.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Told(NamedTuple):
    """One cause for its reader: the versions in words, what happens, what it leaves in the row, what to do."""

    code: str
    name: str
    versions: str
    happens: str
    leaves: str
    todo: str

    @property
    def text(self) -> str:
        """The explanation in paragraphs that begin with a title and a colon."""
        return f"What happens: {self.happens}\n\nWhat it leaves: {self.leaves}\n\nWhat to do: {self.todo}"

    def row(self) -> dict[str, str]:
        """Return it as it is printed."""
        return {"code": self.code, "name": self.name, "versions": self.versions, "text": self.text}


LEXICON: Final[tuple[Told, ...]] = (
    Told(
        "M1",
        "fetched-ahead-and-lost",
        "all versions to v6.2.0",
        "listmonk takes people from the list in batches and moves the campaign's cursor before it mails them. A kill, "
        "a crash, a reboot, an orderly stop and a restart after saving the settings all drop whoever was taken and not "
        "mailed yet. When it goes on, it goes on behind them.",
        "`sent` is short by at most one batch, the queue and the workers for each stop. The people lost are one "
        "stretch that ends where a batch ended, often in the middle of the list.",
        "While it stands still after the stop, do not press Start: `repair` moves the cursor back first. Once it was "
        "started again, the relay's log tells who is missing. Before the next restart, pause and wait until it has "
        "drained.",
    ),
    Told(
        "M2",
        "cursor-overwritten-with-a-count",
        "v3.0.0 to v6.0.0",
        "a run that sends nothing writes the number of recipients into the column that holds the last subscriber id.",
        "`last_subscriber_id` equals `to_send`. If that is lower than where the sending stood, Start mails everybody "
        "above it a second time; if it is higher, people are skipped.",
        "do not press Start. `repair` sets the cursor to where the mails counted end, and says what that costs.",
    ),
    Told(
        "M3",
        "ineligible-batch",
        "v2.1.0 to v3.0.0",
        "the batch is cut before blocklisted and unconfirmed people are left out of it. A whole batch of them looks as "
        "if nobody were left, and the campaign is called finished.",
        "finished, with people of the audience above the cursor who were never taken.",
        "resuming mails exactly those. A server up to v3.0.0 stops there again unless the cursor is moved past the "
        "stretch, which `repair` does, or the batch size is raised.",
    ),
    Told(
        "M4",
        "restarted-while-draining",
        "v3.0.0 to v4.1.0",
        "Pause followed by Start before the first run has drained: its clean-up sees a running campaign and calls it "
        "finished.",
        "finished, fewer sent than counted, and a cursor that is right.",
        "resume it: it mails whoever is left, and nobody twice.",
    ),
    Told(
        "M5",
        "hung-pipe",
        "v3.0.0 to v6.0.0",
        "an error while the next people are taken leaves the run in the server's memory for ever.",
        "running, the server alive, and nothing moves. Everything that was taken was sent.",
        "restart listmonk; that loses nobody here. First make sure by `examine` that it is not merely asleep.",
    ),
    Told(
        "M6",
        "list-deleted",
        "v4.0.0 and later (it hangs up to v6.0.0)",
        "deleting a list leaves an empty row on the campaign, on which each attempt to take people fails.",
        "running or paused with such a row. From v6.1.0 on it goes on without the list's people.",
        "`repair --strategy detach-list` removes the row; a restart alone hangs again.",
    ),
    Told(
        "M7",
        "nobody-to-mail",
        "v4.0.0 to v5.0.0",
        "a due campaign without anybody to mail is picked up and dropped again at every scan.",
        "scheduled, its time past, never started; the row changes every five seconds.",
        "`repair --strategy unschedule` makes it a draft. Whoever joins its lists before that is mailed at once.",
    ),
    Told(
        "M8",
        "waiting-for-the-window",
        "all versions",
        "the sliding window lets so many mails through and then sleeps, for all campaigns at once, up to its whole "
        "length.",
        "running, and nothing moves until the window is over. It is not damage.",
        "wait. A restart now would lose whoever was taken and not mailed yet (M1).",
    ),
    Told(
        "M9",
        "send-errors",
        "all versions",
        "the relay refuses a mail, or the connection breaks. The person is dropped and not tried again (what is tried "
        "again within one attempt depends on the version). Too many errors pause the campaign.",
        "fewer sent than counted, by single people anywhere; lines in listmonk's log and in the relay's.",
        "look into the log before anything is sent again: a refusal for good will be refused again.",
    ),
    Told(
        "M10",
        "counter-lag",
        "v3.0.0 and later",
        "`sent` is written every five seconds. A hard stop loses the last of it, and on a clean end it may lag by one "
        "for each worker.",
        "a small gap between sent and counted although everybody was mailed.",
        "nothing, where the gap is no larger than the number of workers.",
    ),
    Told(
        "M11",
        "recounted-on-resume",
        "all versions",
        "each start counts the recipients anew, from the lists as they are then. Whoever joined since is mailed too.",
        "more sent than counted, or another count than at the first start.",
        "nothing to mend in the counters. Whether people of the first audience were left out has to be asked apart.",
    ),
    Told(
        "M12",
        "one-of-two-lists",
        "v2.1.0 to v3.0.0",
        "somebody on several of the campaign's lists is judged by one of the subscriptions, whichever comes.",
        "single people left out.",
        "`examine` counts who may be meant; a mail to those alone costs least.",
    ),
    Told(
        "M13",
        "blocklisted-counted",
        "up to v3.0.0",
        "the number of recipients includes the blocklisted, who are never mailed.",
        "finished with a gap that is the number of blocklisted people.",
        "nothing: it is not damage.",
    ),
    Told(
        "M14",
        "cannot-be-built",
        "all versions",
        "a template or an attachment is broken, or the messenger does not exist (any more).",
        "running or cancelled, with nothing sent.",
        "mend the template, the attachment or the messenger, then start it again.",
    ),
    Told(
        "M15",
        "sent-counts-fetched",
        "up to v2.5.1",
        "`sent` counts people when they are taken from the list, not when they are mailed.",
        "sent and counted agree although up to a batch was lost at each stop.",
        "only the relay's log tells who got it.",
    ),
    Told(
        "M16",
        "two-servers",
        "all versions",
        "two listmonk servers work on one database.",
        "sessions from two places, each scanning every five seconds; people may be mailed twice.",
        "stop one of them, or start it with --passive.",
    ),
    Told(
        "M17",
        "skipped-at-render",
        "all versions",
        "a mail that cannot be rendered for a person is skipped and counted nowhere.",
        "a small gap, and lines in listmonk's log that name the address.",
        "mend the template, then mail those people alone.",
    ),
    Told(
        "M18",
        "spoiled-connection",
        "up to v2.5.1",
        "after one refused recipient the connection is used again without a reset, and the next people are refused "
        "too.",
        "thousands of 503 lines in the log on large lists, none on small ones; `sent` does not show it.",
        "only the relay's log tells who got it.",
    ),
)


def look_up(code_or_name: str) -> Told | None:
    """Return the cause with that code (in any letter case) or name; None where there is none."""
    wanted = code_or_name.strip().lower()
    return next((each for each in LEXICON if wanted in (each.code.lower(), each.name)), None)


def near(word: str) -> list[str]:
    """Return causes whose code or name comes close to a word, as "M1 (fetched-ahead-and-lost)"."""
    import difflib  # only for an answer that takes no hurry

    words = {name: each for each in LEXICON for name in (each.code.lower(), each.name)}
    found = difflib.get_close_matches(word.strip().lower(), words, n=2, cutoff=0.6)
    return [f"{words[name].code} ({words[name].name})" for name in found]
