"""Owns reading listmonk's own configuration of its database: config.toml's [db] and the LISTMONK_db__* variables."""

from __future__ import annotations

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
"""listmonk's keys of [db] and libpq's keywords; the keys of its pool (max_open, max_idle, max_lifetime) are left out."""
_PREFIX: Final = "LISTMONK_"
_SECTION: Final = "db__"
_FILE: Final = "_file"
_NOT_LIBPQ: Final = (
    "binary_parameters", "disable_prepared_binary_result", "sslinline", "krbspn", "application_name",
    "fallback_application_name",
)
"""Parameters of listmonk's driver that libpq does not have, and the name that listmonk's sessions carry, not ours."""


class UnreadableFileError(ConnectionFailedError):
    """A configuration file is there and cannot be opened."""


def from_environment(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return listmonk's keys of [db] that variables set, each with the variable's name.

    As listmonk reads them: the prefix off, lower-cased, `__` is the dot. `..._FILE` names a file that holds
    the value, as in its container. Raises ConnectionFailedError if that file cannot be read.
    """
    found: dict[str, tuple[str, str]] = {}
    from_files: dict[str, tuple[str, str]] = {}
    for name, value in environ.items():
        if not name.startswith(_PREFIX):
            continue
        key = name.removeprefix(_PREFIX).lower()
        if not key.startswith(_SECTION):
            continue
        key = key.removeprefix(_SECTION)
        if key in _KEYWORDS or key == "params":
            found[key] = (value, name)
        elif key.endswith(_FILE) and value and (key.removesuffix(_FILE) in (*_KEYWORDS, "params")):
            from_files[key.removesuffix(_FILE)] = (_secret_file(Path(value), name), name)
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

    Raises UnreadableFileError or ConnectionFailedError naming the file (no content of it but a position is
    told).
    """
    import tomllib

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UnreadableFileError(
            f"The configuration file {path} cannot be read: {_reason(error)}.",
            hint="Name a file that you may read with --config, or give --dsn.",
        ) from None
    except UnicodeDecodeError:
        raise ConnectionFailedError(f"The configuration file {path} is not UTF-8 text.") from None
    try:
        section = tomllib.loads(text).get("db")
    except tomllib.TOMLDecodeError as error:
        raise ConnectionFailedError(
            f"The configuration file {path} is not valid TOML{_position(str(error))}.",
            hint="Correct the file, or give the connection with --dsn.",
        ) from None
    return _texts(section, path) if isinstance(section, dict) else {}


def _texts(section: dict[str, Any], path: Path) -> dict[str, str]:
    """Return the known keys as text; refuse a value that is neither text nor a whole number."""
    texts: dict[str, str] = {}
    for key in (*_KEYWORDS, "params"):
        value = section.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise ConnectionFailedError(
                f"In the configuration file {path} the value of db.{key} is neither text nor a whole number.",
                hint='Write it as in listmonk\'s sample: host = "localhost", port = 5432.',
            )
        texts[key] = str(value)
    return texts


def _position(message: str) -> str:
    """Return " (at line 3, column 7)" of a message of tomllib, whose other words might quote the file."""
    start = message.rfind("(at ")
    return f" {message[start:]}" if start >= 0 and message.endswith(")") else ""


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "input error") if isinstance(error, OSError) else "it is not UTF-8 text"


def to_conninfo(settings: Mapping[str, str], origin: str) -> dict[str, str]:
    """Return libpq's keywords for listmonk's keys; `params` is appended, so it wins, as in listmonk.

    `origin` is named in the error (ConnectionFailedError) when `params` cannot be understood.
    """
    conninfo = {_KEYWORDS[key]: value for key, value in settings.items() if key in _KEYWORDS and value}
    return conninfo | _params(settings.get("params", ""), origin)


def _params(text: str, origin: str) -> dict[str, str]:
    """Return libpq's keywords for `params`.

    listmonk's driver sends a name that it does not know, such as search_path, to the server as a setting;
    libpq has `options` for that.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    known: dict[str, str] = {}
    options: list[str] = []
    try:
        # make_conninfo quotes nothing here: pairs without blanks in their values, as listmonk documents them.
        pairs = [text] if _understood(text) else text.split()
        for pair in pairs:
            name, equals, value = pair.partition("=")
            if _understood(pair):
                known |= {key: str(item) for key, item in conninfo_to_dict(pair).items() if item is not None}
            elif name in _NOT_LIBPQ:
                continue
            elif equals and name.replace("_", "").replace(".", "").isalnum():
                setting = value.strip("'").replace("\\", "\\\\").replace(" ", "\\ ")
                options.append(f"-c {name}={setting}")
            else:
                make_conninfo(pair)
    except psycopg.Error:
        raise ConnectionFailedError(
            f"db.params in {origin} cannot be understood.",
            hint="It holds pairs like sslrootcert=/path/ca.pem, with blanks between them.",
        ) from None
    if options:
        known["options"] = " ".join([*([known["options"]] if "options" in known else []), *options])
    return {key: value for key, value in known.items() if key not in _NOT_LIBPQ}


def _understood(text: str) -> bool:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(text)
    except psycopg.Error:
        return False
    return True
