"""Owns decoding a row version's bytes into the columns of a campaign that matter, by the table's own layout."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from listmonk_doctor.timeline.wal.heap import Version

EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""What PostgreSQL counts its microseconds from."""
COLUMNS: Final = (
    "id",
    "status",
    "sent",
    "to_send",
    "last_subscriber_id",
    "max_subscriber_id",
    "started_at",
    "updated_at",
)
"""The columns that are decoded; no text of a campaign is."""
_ALIGNMENT: Final = {"c": 1, "s": 2, "i": 4, "d": 8}
_HAS_NULLS: Final = 1
_COUNT: Final = 0x07FF
_VARLENA, _CSTRING = -1, -2
_ON_DISK: Final = 18
_POINTER: Final = 18


class UnknownError(Exception):
    """The bytes that are needed are not known; never shown to a user."""


def moment(microseconds: int) -> datetime:
    """Return PostgreSQL's count of microseconds as a moment. Raises OverflowError where it is none."""
    return EPOCH + timedelta(microseconds=microseconds)


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column as pg_attribute describes it; `kind` is its type's name, or "enum". `missing`: what older rows have."""

    number: int
    name: str
    length: int
    alignment: str
    kind: str
    missing: str | None


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table's rows are laid out, dropped columns included, and what the numbers of its enums mean."""

    attributes: tuple[Attribute, ...]
    labels: Mapping[int, str]
    columns: tuple[str, ...] = COLUMNS

    def decode(self, version: Version) -> dict[str, Any]:
        """Return the wanted columns. Raises UnknownError where bytes are missing, RefusedError where they are none."""
        data = version.data
        if data is None:
            raise UnknownError
        count, at = version.attributes & _COUNT, 0
        out: dict[str, Any] = {}
        for attribute in self.attributes:
            number, wanted = attribute.number, attribute.name in self.columns
            if number > count:  # the column is younger than this version
                if wanted:
                    out[attribute.name] = _missing(attribute)
                continue
            if version.flags & _HAS_NULLS and not _there(version.nulls, number - 1):
                if wanted:
                    out[attribute.name] = None
                continue
            if attribute.length == _VARLENA:
                at = _behind(version, data, at, _ALIGNMENT[attribute.alignment])
                continue
            if attribute.length == _CSTRING:
                raise UnknownError
            at += -at % _ALIGNMENT[attribute.alignment]
            if wanted:
                _need(version, data, at, attribute.length)
                out[attribute.name] = self._value(attribute, bytes(data[at : at + attribute.length]))
            at += attribute.length
        return out

    def _value(self, attribute: Attribute, raw: bytes) -> Any:
        if attribute.kind == "enum":
            label = self.labels.get(int.from_bytes(raw, "little"))
            if label is None:
                raise RefusedError(
                    f"The log holds a value of {attribute.name} that the server does not know.",
                    hint="Use a recording of watch --record.",
                )
            return label
        number = int.from_bytes(raw, "little", signed=attribute.kind != "oid")
        if not attribute.kind.startswith("timestamp"):
            return number
        try:
            return moment(number)
        except OverflowError:
            raise RefusedError(
                f"The log holds a value of {attribute.name} that is no moment.",
                hint="Use a recording of watch --record.",
            ) from None


def _need(version: Version, data: bytearray, at: int, length: int) -> None:
    if at + length > len(data) or 0 in version.known[at : at + length]:
        raise UnknownError


def _there(nulls: bytes, index: int) -> bool:
    if index >> 3 >= len(nulls):
        raise UnknownError
    return bool(nulls[index >> 3] >> (index & 7) & 1)


def _behind(version: Version, data: bytearray, at: int, alignment: int) -> int:
    """Return where a value of varying length ends: short, long, or a pointer to where it is kept outside the row."""
    _need(version, data, at, 1)
    if data[at] == 0:  # padding: four bytes of length follow, aligned
        at += -at % alignment
        _need(version, data, at, 1)
    if data[at] == 1:
        _need(version, data, at, 2)
        if data[at + 1] != _ON_DISK:
            raise UnknownError
        return at + _POINTER
    if data[at] & 1:
        return at + (data[at] >> 1)
    _need(version, data, at, 4)
    size: int = struct.unpack_from("<I", data, at)[0] >> 2
    return at + max(size, 4)


def _missing(attribute: Attribute) -> Any:
    """Return what a row has in a column that was added after it was written."""
    if attribute.missing is None:
        return None
    text = attribute.missing.strip('{}"')
    try:
        if attribute.kind == "enum":
            return text
        return datetime.fromisoformat(text) if attribute.kind.startswith("timestamp") else int(text)
    except ValueError:
        raise UnknownError from None
