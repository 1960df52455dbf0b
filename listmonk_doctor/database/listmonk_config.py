"""Owns reading listmonk's own configuration of its database: [db] in config.toml, LISTMONK_db__*."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from listmonk_doctor.errors import ConnectionFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYWORDS: Final = {
    "host": "host",
    "port": "port",
    "user": "user",
    "password": "password",
    "database": "dbname",
    "ssl_mode": "sslmode",
}
"""listmonk's keys of [db] and libpq's keywords; those of its pool (max_open, max_idle, ...) are left out."""
_KEYS: Final = (*_KEYWORDS, "params")
_PREFIX: Final = "LISTMONK_"
_SECTION: Final = "db__"
_FILE: Final = "_file"
_DRIVER_ONLY: Final = frozenset(
    {"binary_parameters", "disable_prepared_binary_result", "sslinline", "krbspn"},
)
"""Parameters of listmonk's driver that mean nothing to libpq."""
_NOT_OURS: Final = frozenset({"application_name", "fallback_application_name"})
"""What listmonk's sessions are called is not what ours are called."""


class UnreadableFileError(ConnectionFailedError):
    """A configuration file is there and cannot be opened."""


def from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return listmonk's keys of [db] that variables set.

    As listmonk reads them: the prefix off, lower-cased, `__` is the dot. `..._FILE` names a file that holds
    the value, which wins as in its container. Raises ConnectionFailedError if that file cannot be read.
    """
    found: dict[str, str] = {}
    from_files: dict[str, str] = {}
    for name, value in environ.items():
        key = name.removeprefix(_PREFIX).lower()
        if not name.startswith(_PREFIX) or not key.startswith(_SECTION):
            continue
        key = key.removeprefix(_SECTION)
        if key in _KEYS:
            found[key] = value
        elif value and key.endswith(_FILE) and key.removesuffix(_FILE) in _KEYS:
            from_files[key.removesuffix(_FILE)] = _secret_file(Path(value), name)
    return found | from_files


def _secret_file(path: Path, variable: str) -> str:
    """Return what a file holds, without the line ends that a shell would drop too."""
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConnectionFailedError(
            f"{variable} names {path}, which cannot be read: {_reason(error)}.",
            hint="The variable must hold the path of a text file that the user who runs this may read.",
        ) from None


def from_file(path: Path) -> dict[str, str]:
    """Return the keys of [db] in a listmonk config.toml as text; empty where there is no such section.

    Raises UnreadableFileError or ConnectionFailedError naming the file; of its content only a position is
    told.
    """
    import tomllib

    try:
        section = tomllib.loads(path.read_text(encoding="utf-8")).get("db")
    except OSError as error:
        raise UnreadableFileError(
            f"The configuration file {path} cannot be read: {_reason(error)}.",
            hint="Name a file that you may read with --config, or give --dsn.",
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConnectionFailedError(
            f"The configuration file {path} is not valid TOML{_position(str(error))}.",
            hint="Correct the file, or give the connection with --dsn.",
        ) from None
    return _texts(section, path) if isinstance(section, dict) else {}


def _texts(section: dict[str, Any], path: Path) -> dict[str, str]:
    """Return the known keys as text; refuse a value that is neither text nor a whole number."""
    known = {key: section[key] for key in _KEYS if key in section}
    for key, value in known.items():
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise ConnectionFailedError(
                f"In the configuration file {path} the value of db.{key} is neither text nor a whole number.",
                hint='Write it as in listmonk\'s sample: host = "localhost", port = 5432.',
            )
    return {key: str(value) for key, value in known.items()}


def _position(message: str) -> str:
    """Return " (at line 3, column 7)" of a message of tomllib, whose other words might quote the file."""
    found = re.search(r" \(at [^()]*\)$", message)
    return found[0] if found else ""


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "input error") if isinstance(error, OSError) else "it is not UTF-8 text"


def to_conninfo(settings: Mapping[str, str], origin: str) -> dict[str, str]:
    """Return libpq's keywords for listmonk's keys; `params` is appended, so it wins, as in listmonk.

    `origin` is named in the error (ConnectionFailedError) when `params` cannot be understood.
    """
    conninfo = {_KEYWORDS[key]: value for key, value in settings.items() if key in _KEYWORDS and value}
    return conninfo | _params(settings.get("params", ""), origin)


def _params(text: str, origin: str) -> dict[str, str]:
    """Return libpq's keywords for `params`: pairs with blanks between them.

    listmonk's driver sends a name that it does not know, such as search_path, to the server as a setting;
    libpq has `options` for that.
    """
    whole = _understood(text)
    if whole is not None:
        return {key: value for key, value in whole.items() if key not in _NOT_OURS}
    known: dict[str, str] = {}
    settings: list[str] = []
    for pair in text.split():
        name, _, value = pair.partition("=")
        keywords = _understood(pair)
        if keywords is not None:
            known |= keywords
        elif re.fullmatch(r"[a-z_]+(\.[a-z_]+)?=[^'=]+", pair, re.IGNORECASE):
            if name not in _DRIVER_ONLY:
                settings.append(f"-c {name}=" + value.replace("\\", "\\\\"))
        else:
            raise ConnectionFailedError(
                f"db.params in {origin} cannot be understood.",
                hint="It holds pairs like sslrootcert=/path/ca.pem, with blanks between them.",
            )
    if settings:
        known["options"] = " ".join([known["options"], *settings] if "options" in known else settings)
    return {key: value for key, value in known.items() if key not in _NOT_OURS}


def _understood(text: str) -> dict[str, str] | None:
    """Return libpq's keywords in a connection string, None where it is none."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        return {key: str(value) for key, value in conninfo_to_dict(text).items() if value is not None}
    except psycopg.Error:
        return None
