"""Owns where the connection's parameters come from: which source wins, and what may be shown of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from listmonk_doctor.errors import ConnectionFailedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DSN_VARIABLE: Final = "LISTMONK_DOCTOR_DSN"
LOCAL_CONFIG: Final = "config.toml"
"""listmonk's own default: a file of that name in the current folder."""
SYSTEM_CONFIG: Final = Path("/etc/listmonk/config.toml")

_PG_DECIDES: Final = ("PGSERVICE", "PGHOST", "PGHOSTADDR", "PGDATABASE")
"""libpq's variables that say which database is meant; PGUSER or PGPASSWORD alone complete other sources."""
_PG_SHOWN: Final = {
    "PGSERVICE": "service",
    "PGHOST": "host",
    "PGHOSTADDR": "hostaddr",
    "PGPORT": "port",
    "PGDATABASE": "dbname",
    "PGUSER": "user",
}
_SECRETS: Final = ("password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret")
"""libpq's keywords whose values are never shown."""
_PASSWORD_SHOWS: Final = (
    "Everyone on this machine can see the password in --dsn (process list, shell history): "
    f"put it into ~/.pgpass, PGPASSWORD, a service file (--service NAME) or {DSN_VARIABLE} instead."
)
_HOW: Final = (
    "Give --dsn postgresql://USER@HOST/DATABASE (the password in ~/.pgpass or PGPASSWORD), PGHOST and "
    "PGDATABASE, --service NAME, or --config FILE with listmonk's config.toml."
)


@dataclass(frozen=True, slots=True)
class Target:
    """The database that is meant: libpq's keywords and where they came from.

    What libpq itself reads from the environment (PGPASSWORD, PGSSLMODE, ...) is not in `conninfo`.
    """

    conninfo: dict[str, str] = field(repr=False)
    origin: str
    warnings: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Host and port (or service, or socket) for a sentence, without any secret."""
        known = self.conninfo
        if "service" in known and not ("host" in known or "hostaddr" in known):
            return f"the service {known['service']!r}"
        host = known.get("host") or known.get("hostaddr")
        port = known.get("port")
        if host and not host.startswith(("/", "@")):
            return f"{host}:{port}" if port and "," not in host else host
        details = ", ".join([f"socket in {host}"] * bool(host) + [f"port {port}"] * bool(port))
        return "the local server" + (f" ({details})" if details else "")

    def describe(self) -> str:
        """Return one line for people: database, place, role and origin, never a password."""
        database = self.conninfo.get("dbname")
        role = self.conninfo.get("user")
        named = f"database {database}" if database else "the default database"
        return f"{named} on {self.place}" + (f" as {role}" if role else "") + f" (from {self.origin})"

    def secrets(self) -> tuple[str, ...]:
        """Return the values that no text may hold."""
        return tuple(value for key, value in self.conninfo.items() if key in _SECRETS and value)


def resolve(
    dsn: str | None,
    service: str | None,
    config: Sequence[Path],
    environ: Mapping[str, str],
    cwd: Path,
) -> Target:
    """Return the database that is meant, by the first source that says something.

    --dsn, LISTMONK_DOCTOR_DSN, --service or PG* (PGSERVICE, PGHOST, PGHOSTADDR or PGDATABASE set),
    LISTMONK_db__* (over the files, as in listmonk), --config (several merge in order), ./config.toml,
    /etc/listmonk/config.toml. An option that an earlier source makes void earns a warning. Raises
    ConnectionFailedError when nothing is found or a file cannot be used, UsageError for a string of --dsn
    that is no connection string. No message holds a secret.
    """
    if dsn is not None and not dsn.strip():
        raise UsageError("--dsn is empty.", hint=_HOW)
    if dsn is not None:
        warnings = _void("--dsn", service, config)
        found = _from_string(dsn, "--dsn")
        if any(found.get(secret) for secret in _SECRETS):
            warnings = (_PASSWORD_SHOWS, *warnings)
        return Target(found, "--dsn", warnings)
    if environ.get(DSN_VARIABLE, "").strip():
        found = _from_string(environ[DSN_VARIABLE], DSN_VARIABLE)
        return Target(found, DSN_VARIABLE, _void(DSN_VARIABLE, service, config))
    if service:
        return Target({"service": service}, f"--service {service}", _void("--service", None, config))
    if any(environ.get(name) for name in _PG_DECIDES):
        return _from_libpq(environ, config)
    return _from_listmonk(config, environ, cwd)


def _void(winner: str, service: str | None, config: Sequence[Path]) -> tuple[str, ...]:
    """Return a warning for each option that is given and not used."""
    unused = ([f"--service {service}"] if service else []) + [f"--config {path}" for path in config]
    return tuple(f"{option} is not used: {winner} comes first." for option in unused)


def _from_string(text: str, origin: str) -> dict[str, str]:
    """Return the keywords of a connection string; psycopg's message may quote it, so it is not passed on."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        return {key: str(value) for key, value in conninfo_to_dict(text).items() if value is not None}
    except psycopg.Error:
        raise UsageError(
            f"{origin} holds no connection string that can be understood.",
            hint='Write postgresql://USER@HOST:PORT/DATABASE or "host=... dbname=... user=...". In the first '
            "form a special character of a password is percent-encoded (@ is %40), in the second a value "
            "with blanks is put in single quotes.",
        ) from None


def _from_libpq(environ: Mapping[str, str], config: Sequence[Path]) -> Target:
    """Return what libpq's variables name; libpq reads the rest (password, TLS) by itself."""
    given = {name: environ[name] for name in _PG_SHOWN if environ.get(name)}
    # A service's entries beat the variables, as libpq has it, so beside one nothing else is spelled out.
    named = {"PGSERVICE": given["PGSERVICE"]} if "PGSERVICE" in given else given
    return Target(
        {_PG_SHOWN[name]: value for name, value in named.items()},
        ", ".join(given),
        _void(", ".join(given), None, config),
    )


def _from_listmonk(config: Sequence[Path], environ: Mapping[str, str], cwd: Path) -> Target:
    """Return what listmonk's variables and files say."""
    from listmonk_doctor.database import listmonk_config as own

    variables = own.from_environment(environ)
    given = any(variables.values())
    files, tried, warnings = _files(config, cwd, may_fail=given)
    if not given and not files:
        hint = f"Tried: {', '.join(_NOTHING + tried)}. {_HOW}"
        raise ConnectionFailedError("No database was named.", hint=hint)
    settings: dict[str, str] = {}
    for _, section in files:
        settings |= section
    settings |= variables
    names = ["LISTMONK_db__*"] if given else []
    names += [str(path) for path, _ in files]
    origin = ", ".join(names)
    return Target(own.to_conninfo(settings, origin), origin, warnings)


_NOTHING: Final = ("--dsn", DSN_VARIABLE, "--service", "PGHOST, PGDATABASE or PGSERVICE", "LISTMONK_db__*")


def _files(
    config: Sequence[Path],
    cwd: Path,
    *,
    may_fail: bool,
) -> tuple[list[tuple[Path, dict[str, str]]], tuple[str, ...], tuple[str, ...]]:
    """Return the files with a [db] (all of `config`, else the first default one), what was tried, warnings.

    `may_fail`: a default file that cannot be opened is only warned of, because the variables may be all
    there is.
    """
    from listmonk_doctor.database import listmonk_config as own

    if config:
        sections = [(path, own.from_file(path)) for path in config]
        useful = [(path, section) for path, section in sections if section]
        if not useful and not may_fail:
            raise ConnectionFailedError(
                f"{', '.join(map(str, config))} says nothing about a database.",
                hint="listmonk's configuration names it in a section [db]: host, port, user, database.",
            )
        return useful, (), ()
    tried: list[str] = []
    warnings: list[str] = []
    for path in (cwd / LOCAL_CONFIG, SYSTEM_CONFIG):
        try:
            there = path.is_file()
        except OSError:
            there = False
        if not there:
            tried.append(f"{path} (not there)")
            continue
        try:
            section = own.from_file(path)
        except own.UnreadableFileError as error:
            if not may_fail:
                raise
            warnings.append(f"{error.message} It was passed over.")
            continue
        if section:
            return [(path, section)], tuple(tried), tuple(warnings)
        tried.append(f"{path} (no section [db])")
    return [], tuple(tried), tuple(warnings)
