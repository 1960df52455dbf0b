"""Owns the catalogue of checks: what the files in sql/checks/ declare, read strictly, and finding one of them."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from listmonk_doctor.database import sqlfiles
from listmonk_doctor.diagnosis.findings import SEVERITIES, Severity
from listmonk_doctor.errors import UsageError
from listmonk_doctor.listmonk.versions import Version, parse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

FOLDER: Final = "checks"
"""The folder below sql/ whose files are the checks: one file is the whole check."""

COLUMNS: Final = ("id", "label", "detail", "fix")
"""What each check's SELECT gives, in this order."""

_REQUIRED: Final = ("code", "name", "severity", "tags")
_OPTIONAL: Final = ("since", "before")
_FIELD: Final = re.compile(r"^-- ([a-z]+): (\S.*)$")
_CODE: Final = re.compile(r"^LM[1-9][0-9]{2}$")
_WORD: Final = re.compile(r"^[a-z0-9]+(?:-[a-z0-9]+)*$")
_TABLES: Final = {
    "1": "campaigns",
    "2": "subscribers",
    "3": "templates",
    "4": "settings",
    "8": "settings",
    "9": "pg_stat_activity",
}
"""By the first digit of the code: the table whose rows a check reports."""
_QUOTED: Final = re.compile(r"'(?:[^']|'')*'|--[^\n]*")
"""Strings and comments, in which a semicolon ends nothing."""
_ALIKE: Final = 0.5
"""How much of what was typed a suggestion shares with it at least (0 to 1)."""


class MalformedCheckError(RuntimeError):
    """A file in sql/checks/ is not a check: a bug of the program, not of its user."""


class Check(NamedTuple):
    """One check: what its file declares, its explanation, and its statement as it stands in the file.

    It is run for versions with `since` <= version < `before` (None: no bound). `text` is the explanation in
    paragraphs that are divided by empty lines. `sql` is the whole file, comments included: it runs as it is in psql.
    """

    code: str
    name: str
    severity: Severity
    tags: tuple[str, ...]
    since: Version | None
    before: Version | None
    text: str
    sql: bytes

    @property
    def table(self) -> str:
        """The table that the ids of its findings belong to."""
        return _TABLES[self.code[2]]

    def not_for(self, version: Version) -> str | None:
        """Return why the check does not apply to a version of listmonk; None where it does."""
        if self.since is not None and version < self.since:
            return f"it is for {self.since} and later; this is {version}"
        if self.before is not None and version >= self.before:
            return f"it is for versions before {self.before}; this is {version}"
        return None


def _split(file: str, content: str) -> tuple[dict[str, str], str, str]:
    """Return a file's declarations, its explanation and its statement."""
    lines = content.splitlines()
    fields: dict[str, str] = {}
    while lines and (found := _FIELD.match(lines[0])):
        if found[1] in fields:
            raise MalformedCheckError(f"{file}: {found[1]} is declared twice")
        fields[found[1]] = found[2].strip()
        del lines[0]
    if not lines or lines[0] != "--":
        raise MalformedCheckError(f"{file}: the declarations do not end with a line that is `--` alone")
    comment = []
    while lines and lines[0].startswith("--"):
        if lines[0] != "--" and not lines[0].startswith("-- "):
            raise MalformedCheckError(f"{file}: the explanation has a line that does not begin with `-- `")
        comment.append(lines.pop(0)[3:])
    return fields, "\n".join(comment).strip(), "\n".join(lines).strip()


def _declared(file: str, fields: dict[str, str]) -> None:
    """Refuse declarations that are missing, unknown, out of order or not in their form."""
    order = [key for key in (*_REQUIRED, *_OPTIONAL) if key in fields]
    if list(fields) != order or not set(_REQUIRED) <= set(fields):
        wanted = f"{', '.join(_REQUIRED)} and perhaps {', '.join(_OPTIONAL)}, in this order"
        raise MalformedCheckError(f"{file}: declares {', '.join(fields) or 'nothing'}; a check declares {wanted}")
    if not _CODE.match(fields["code"]) or fields["code"][2] not in _TABLES:
        raise MalformedCheckError(f"{file}: {fields['code']} is no code; one looks like LM101")
    if not _WORD.match(fields["name"]):
        raise MalformedCheckError(f"{file}: {fields['name']} is no name; it has small letters, digits and hyphens")
    if fields["severity"] not in SEVERITIES:
        raise MalformedCheckError(f"{file}: {fields['severity']} is no severity; there are {', '.join(SEVERITIES)}")
    if file != f"{fields['code'].lower()}-{fields['name']}.sql":
        raise MalformedCheckError(f"{file}: a check's file is named by its code and name")


def read_check(file: str, content: bytes) -> Check:
    """Return the check that a file declares. Raises MalformedCheckError where it is not exactly in form."""
    fields, text, statement = _split(file, content.decode())
    _declared(file, fields)
    tags = tuple(tag.strip() for tag in fields["tags"].split(","))
    if not all(_WORD.match(tag) for tag in tags) or len(set(tags)) < len(tags):
        raise MalformedCheckError(f"{file}: the tags are {fields['tags']}; they are different words, with commas")
    bare = _QUOTED.sub("", statement)
    if not text or not re.match(r"(?:SELECT|WITH)\b", statement) or not bare.endswith(";") or bare.count(";") > 1:
        raise MalformedCheckError(f"{file}: a check is an explanation and one SELECT that ends with a semicolon")
    severity = next(known for known in SEVERITIES if known == fields["severity"])
    since, before = (_version(file, fields.get(key)) for key in _OPTIONAL)
    return Check(fields["code"], fields["name"], severity, tags, since, before, text, content)


def _version(file: str, tag: str | None) -> Version | None:
    if tag is None:
        return None
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        raise MalformedCheckError(f"{file}: {tag} is no version; one looks like v4.1.0")
    return parse(tag)


def read_all(files: Iterable[tuple[str, bytes]]) -> tuple[Check, ...]:
    """Return the checks that files declare, by code. Raises MalformedCheckError for a code or name used twice."""
    checks = sorted((read_check(file, content) for file, content in files), key=lambda check: check.code)
    seen: dict[str, Check] = {}
    for check in checks:
        for word in (check.code, check.name):
            if word in seen:
                raise MalformedCheckError(f"{word} is declared by {seen[word].name} and by {check.name}")
            seen[word] = check
    return tuple(checks)


@cache
def catalogue() -> tuple[Check, ...]:
    """Return all checks, by code, as the files in sql/checks/ declare them."""
    return read_all((name, sqlfiles.read(f"{FOLDER}/{name}")) for name in sqlfiles.names(FOLDER))


def select(*, codes: Collection[str] | None = None, tags: Collection[str] | None = None) -> tuple[Check, ...]:
    """Return the checks with one of the codes and at least one of the tags, by code (None: whatever it is)."""
    return tuple(
        check
        for check in catalogue()
        if (codes is None or check.code in codes) and (tags is None or not set(tags).isdisjoint(check.tags))
    )


def find(code_or_name: str) -> Check:
    """Return the check with that code (in any letter case) or name. Raises UsageError with what comes close."""
    wanted = code_or_name.strip().lower()
    for check in catalogue():
        if wanted in (check.code.lower(), check.name):
            return check
    import difflib  # only for an answer that takes no hurry

    words = {word: check for check in catalogue() for word in (check.code.lower(), check.name)}
    close = difflib.get_close_matches(wanted, words, n=3, cutoff=_ALIKE)
    close += [name for name in words if len(wanted) > 3 and wanted in name and name not in close]  # noqa: PLR2004
    from listmonk_doctor.diagnosis.lexicon import near

    meant = dict.fromkeys([*(f"{words[word].code} ({words[word].name})" for word in close[:3]), *near(wanted)])
    raise UsageError(
        f'There is no check "{code_or_name.strip()}".',
        hint=f"Did you mean {' or '.join(meant)}?" if meant else "`listmonk-doctor checks` lists them.",
    )
