"""Tests of the way to the database: which source wins, what is said when there is no session, finding the tables."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from listmonk_doctor.database import sources
from listmonk_doctor.database.connection import connect, find_schema, recorded_versions
from listmonk_doctor.database.snapshot import snapshot
from listmonk_doctor.database.sources import Target, resolve
from listmonk_doctor.demo import postgres
from listmonk_doctor.errors import (
    ConnectionFailedError,
    DoctorError,
    ExitCode,
    PrivilegeError,
    UnknownSchemaError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from listmonk_doctor.database.connection import Connection

SECRET = "s3cr3t-w0rd"  # noqa: S105 - of a server that lives for a test
CONFIG = f"""
[app]
address = "localhost:9000"
[db]
host = "filehost"
port = 5433
user = "fileuser"
password = "{SECRET}"
database = "filedb"
ssl_mode = "disable"
max_open = 25
max_idle = 25
max_lifetime = "300s"
params = ""
"""


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty current folder, and a place for /etc/listmonk/config.toml that is empty too."""
    monkeypatch.setattr(sources, "SYSTEM_CONFIG", tmp_path / "etc" / "config.toml")
    (tmp_path / "etc").mkdir()
    (tmp_path / "here").mkdir()
    return tmp_path


def found(
    folders: Path,
    *,
    dsn: str | None = None,
    service: str | None = None,
    config: Sequence[str] = (),
    **environ: str,
) -> Target:
    """Resolve in the folders of a test."""
    return resolve(dsn, service, [folders / name for name in config], environ, folders / "here")


ALL_SOURCES: dict[str, Any] = {
    "dsn": "postgresql://dsnhost/dsndb",
    "LISTMONK_DOCTOR_DSN": "host=varhost dbname=vardb",
    "service": "named",
    "PGHOST": "pghost",
    "LISTMONK_db__host": "envhost",
    "config": ["given.toml"],
}
"""All sources at once, in the order of precedence; two files stand below them."""
ORIGINS = ["--dsn", "LISTMONK_DOCTOR_DSN", "--service named", "PGHOST", "LISTMONK_db__*", "given.toml"]


@pytest.mark.parametrize("gone", range(len(ALL_SOURCES) + 1))
def test_the_first_source_that_is_there_wins(folders: Path, gone: int) -> None:
    """Of all sources the first wins, and when it is taken away the next, down to /etc/listmonk/config.toml."""
    for place in ("given.toml", "here/config.toml", "etc/config.toml"):
        (folders / place).write_text(CONFIG)
    left = dict(list(ALL_SOURCES.items())[gone:])
    target = found(folders, **left)
    expected = [*ORIGINS, "here/config.toml"][gone]
    assert target.origin.startswith(expected) or target.origin.endswith(expected)
    host = {"--dsn": "dsnhost", "LISTMONK_DOCTOR_DSN": "varhost", "PGHOST": "pghost", "LISTMONK_db__*": "envhost"}
    if expected == "--service named":
        assert target.conninfo == {"service": "named"}
    else:
        assert target.conninfo["host"] == host.get(expected, "filehost")


def test_the_system_file_is_the_last_source(folders: Path) -> None:
    """Where there is no other source, /etc/listmonk/config.toml is read."""
    (folders / "etc/config.toml").write_text(CONFIG)
    target = found(folders)
    assert target.origin.endswith("etc/config.toml")
    assert target.conninfo == {
        "host": "filehost",
        "port": "5433",
        "user": "fileuser",
        "password": SECRET,
        "dbname": "filedb",
        "sslmode": "disable",
    }


@pytest.mark.parametrize("name", ["PGHOST", "PGHOSTADDR", "PGDATABASE", "PGSERVICE"])
def test_variables_of_libpq_count_when_they_say_which_database(folders: Path, name: str) -> None:
    """PGHOST, PGHOSTADDR, PGDATABASE and PGSERVICE each make libpq's variables the source."""
    (folders / "here/config.toml").write_text(CONFIG)
    target = found(folders, PGUSER="someone", **{name: "10.0.0.1"})
    assert name in target.origin
    assert "10.0.0.1" in target.conninfo.values()


@pytest.mark.parametrize("name", ["PGUSER", "PGPASSWORD", "PGPORT", "PGSSLMODE", "PGHOST"])
def test_variables_that_name_no_database_only_complete_others(folders: Path, name: str) -> None:
    """PGUSER and the like alone (or an empty PGHOST) leave the choice to the next source."""
    (folders / "here/config.toml").write_text(CONFIG)
    target = found(folders, **{name: "" if name == "PGHOST" else "5432"})
    assert target.origin.endswith("here/config.toml")


@pytest.mark.parametrize("name", ["LISTMONK_db__host", "LISTMONK_DB__HOST", "LISTMONK_Db__Host"])
def test_listmonks_variables_are_read_in_any_case(folders: Path, name: str) -> None:
    """As in listmonk, what follows the prefix is lower-cased."""
    assert found(folders, **{name: "envhost"}).conninfo == {"host": "envhost"}


def test_listmonks_variables_beat_the_file_key_by_key(folders: Path) -> None:
    """The environment beats the file, and what it does not say comes from the file, given or default."""
    (folders / "given.toml").write_text(CONFIG)
    target = found(folders, config=["given.toml"], LISTMONK_db__host="envhost", LISTMONK_db__max_open="5")
    assert (target.conninfo["host"], target.conninfo["dbname"]) == ("envhost", "filedb")
    assert target.origin.startswith("LISTMONK_db__*, ")
    (folders / "here/config.toml").write_text(CONFIG)
    assert found(folders, LISTMONK_db__host="envhost").conninfo["user"] == "fileuser"


def test_a_variable_of_the_pool_alone_is_no_source(folders: Path) -> None:
    """LISTMONK_db__max_open says nothing about which database is meant."""
    with pytest.raises(ConnectionFailedError, match="No database was named"):
        found(folders, LISTMONK_db__max_open="5", LISTMONK_app__address=":9000")


def test_a_variable_may_name_a_file_with_the_secret(folders: Path) -> None:
    """LISTMONK_db__password_FILE names a file whose content, less the line end, is the value."""
    (folders / "secret").write_text(f"{SECRET}\n")
    target = found(folders, LISTMONK_db__host="h", LISTMONK_db__password_FILE=str(folders / "secret"))
    assert target.conninfo["password"] == SECRET
    with pytest.raises(ConnectionFailedError, match=r"LISTMONK_DB__PASSWORD_FILE names .*absent, which cannot be read"):
        found(folders, LISTMONK_DB__PASSWORD_FILE=str(folders / "absent"))


def test_several_config_files_merge_in_order(folders: Path) -> None:
    """A later --config overrides an earlier one, key by key."""
    (folders / "a.toml").write_text(CONFIG)
    (folders / "b.toml").write_text('db.host = "later"')
    target = found(folders, config=["a.toml", "b.toml"])
    assert (target.conninfo["host"], target.conninfo["port"]) == ("later", "5433")
    assert found(folders, config=["b.toml", "a.toml"]).conninfo["host"] == "filehost"


def test_params_are_appended(folders: Path) -> None:
    """Params holds libpq's keywords; names that it does not know become settings of the session, as in listmonk."""
    (folders / "a.toml").write_text('[db]\nhost = "h"\nssl_mode = "disable"\nparams = "sslmode=require keepalives=1"')
    assert found(folders, config=["a.toml"]).conninfo == {"host": "h", "sslmode": "require", "keepalives": "1"}
    (folders / "a.toml").write_text(
        '[db]\nhost="h"\nparams = "application_name=listmonk search_path=mail binary_parameters=yes sslmode=require"'
    )
    assert found(folders, config=["a.toml"]).conninfo == {
        "host": "h",
        "sslmode": "require",
        "options": "-c search_path=mail",
    }


def test_a_config_of_another_program_is_passed_over(folders: Path) -> None:
    """A ./config.toml without [db] is not listmonk's: the next source is looked at."""
    (folders / "here/config.toml").write_text('title = "a site"')
    (folders / "etc/config.toml").write_text(CONFIG)
    assert found(folders).origin.endswith("etc/config.toml")


def test_nothing_found_lists_what_was_tried(folders: Path) -> None:
    """Without any source one error says all that was looked at."""
    with pytest.raises(ConnectionFailedError) as caught:
        found(folders)
    assert caught.value.code == ExitCode.FAILED
    sources_named = (
        "--dsn",
        "LISTMONK_DOCTOR_DSN",
        "--service",
        "PGHOST",
        "LISTMONK_db__",
        "here/config.toml (not there)",
    )
    for tried in sources_named:
        assert tried in caught.value.hint


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f'[db]\npassword = "{SECRET}\nhost = "x"', r"is not valid TOML \(at line 2, column \d+\)"),
        (f'[db]\npassword = "{SECRET}"\nport = 1.5', r"value of db.port is neither text nor a whole number"),
        (f'[db]\npassword = "{SECRET}"\nparams = "{SECRET} {SECRET}"', r"db.params in .* cannot be understood"),
        (f'x = "{SECRET}"', r"says nothing about a database"),
    ],
)
def test_a_config_that_cannot_be_used_is_named(folders: Path, text: str, sentence: str) -> None:
    """A broken --config is an error that names the file and tells nothing of its content."""
    (folders / "bad.toml").write_text(text)
    with pytest.raises(ConnectionFailedError, match=sentence) as caught:
        found(folders, config=["bad.toml"])
    assert "bad.toml" in caught.value.message
    assert SECRET not in caught.value.message + caught.value.hint


def test_a_config_that_is_not_text_or_not_there_is_named(folders: Path) -> None:
    """A binary file and a missing one each give an error with the file's name."""
    (folders / "bad.toml").write_bytes(b"\xff\xfe")
    for name in ("bad.toml", "absent.toml"):
        with pytest.raises(ConnectionFailedError, match=name):
            found(folders, config=[name])


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that not even root can read")
def test_an_unreadable_default_file_does_not_stop_complete_variables(folders: Path) -> None:
    """Beside LISTMONK_db__* a default file that cannot be opened is only warned of; alone it is an error."""
    (folders / "here/config.toml").symlink_to("/proc/self/mem")
    target = found(folders, LISTMONK_db__host="envhost")
    assert target.conninfo == {"host": "envhost"}
    assert "here/config.toml cannot be read" in target.warnings[0]
    with pytest.raises(ConnectionFailedError, match=r"here/config\.toml cannot be read"):
        found(folders)


def test_a_password_on_the_command_line_earns_a_warning(folders: Path) -> None:
    """The warning names the alternatives; the same string in the variable is fine, and so is one without password."""
    dsn = f"postgresql://u:{SECRET}@h/d"
    (warning,) = found(folders, dsn=dsn).warnings
    for alternative in ("~/.pgpass", "PGPASSWORD", "--service", "LISTMONK_DOCTOR_DSN"):
        assert alternative in warning
    assert SECRET not in warning
    assert found(folders, LISTMONK_DOCTOR_DSN=dsn).warnings == ()
    assert found(folders, dsn="postgresql://u@h/d").warnings == ()


def test_an_option_that_is_not_used_is_warned_of(folders: Path) -> None:
    """Who gives --config while the environment names a database is told that it is not used."""
    target = found(folders, config=["a.toml"], PGHOST="h")
    assert target.warnings == (f"--config {folders / 'a.toml'} is not used: PGHOST comes first.",)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:s3cr3t-w0rd x@h/d",
        "host=h password=a s3cr3t-w0rd=x",
        "s3cr3t-w0rd",
        "host=h password='s3cr3t-w0rd",
        "postgresql://u:s3cr3t-w0rd@h/d?s3cr3t-w0rd=1",
    ],
)
def test_a_broken_connection_string_is_not_quoted(folders: Path, dsn: str) -> None:
    """A connection string that cannot be understood is wrong usage, and no part of it is repeated."""
    for place in ({"dsn": dsn}, {"LISTMONK_DOCTOR_DSN": dsn}):
        with pytest.raises(UsageError) as caught:
            found(folders, **place)
        assert SECRET not in caught.value.message + caught.value.hint


def test_an_empty_dsn_does_not_fall_through(folders: Path) -> None:
    """--dsn "$UNSET" must not silently mean another database."""
    (folders / "here/config.toml").write_text(CONFIG)
    with pytest.raises(UsageError, match="--dsn is empty"):
        found(folders, dsn="")


def test_a_target_can_be_shown(folders: Path) -> None:
    """What is meant is told in one line, by whatever source, and never with the password."""
    target = found(folders, dsn=f"postgresql://me:{SECRET}@h:5433/d")
    assert target.describe() == "database d on h:5433 as me (from --dsn)"
    assert SECRET not in repr(target)
    assert found(folders, service="prod").describe() == (
        "the default database on the service 'prod' (from --service prod)"
    )
    assert found(folders, PGHOST="/run/pg", PGDATABASE="d").describe() == (
        "database d on the local server (socket in /run/pg) (from PGHOST, PGDATABASE)"
    )


@pytest.fixture(scope="module")
def walled() -> Iterator[postgres.Server]:
    """One server that listens on 127.0.0.1 only and asks for a password by SCRAM."""
    with postgres.throwaway(sockets=False) as running:
        with psycopg.connect(running.dsn(), autocommit=True) as conn:
            conn.execute(f"CREATE ROLE busy LOGIN PASSWORD '{SECRET}' CONNECTION LIMIT 0")
            conn.execute(f"CREATE ROLE outsider LOGIN PASSWORD '{SECRET}'")
            conn.execute("CREATE ROLE fisher LOGIN PASSWORD 'swordfish'")
            conn.execute('CREATE DATABASE "closed shop"')
            conn.execute('REVOKE CONNECT ON DATABASE "closed shop" FROM PUBLIC')
            conn.execute("CREATE DATABASE frozen ALLOW_CONNECTIONS false")
        yield running


def owner(path: Path) -> tuple[int, int]:
    """Return user and group of a file."""
    status = path.stat()
    return status.st_uid, status.st_gid


def within(seconds: float, attempt: Callable[[], Connection]) -> Connection:
    """Try until it works, for so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except ConnectionFailedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def failure(conninfo: dict[str, str]) -> DoctorError:
    """Return the error of a connection that fails, after looking that it is one line without the password."""
    with pytest.raises(DoctorError) as caught:
        connect(Target(conninfo, "the test"))
    text = caught.value.message + caught.value.hint
    assert SECRET not in text
    assert "\n" not in text
    assert caught.value.hint
    assert caught.value.message.endswith(".")
    assert caught.value.code == ExitCode.FAILED
    return caught.value


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"password": SECRET}, "refused the password of the role postgres"),
        ({"password": "", "passfile": "/dev/null"}, "asks for a password for the role postgres, and none was given"),
        ({"user": "nobody-here", "password": SECRET}, "refused the password of the role nobody-here"),
        ({"dbname": "nowhere"}, r"127\.0\.0\.1:\d+ has no database nowhere"),
        ({"dbname": "frozen"}, 'does not accept connections now: database "frozen"'),
        ({"user": "busy", "password": SECRET}, "has no free connection left"),
        ({"sslmode": "require"}, "does not offer TLS, which was asked for"),
        ({"target_session_attrs": "standby"}, "is of the kind that target_session_attrs asks for"),
        ({"host": "no-such-host.invalid"}, r"The host name of no-such-host\.invalid:\d+ is unknown here"),
        ({"host": "/absent/socket"}, r"No PostgreSQL answers on the local server \(socket in /absent/socket"),
        ({"service": "absent"}, "The service cannot be used"),
        ({"options": "-c no_such_setting=1"}, "No session with 127.0.0.1.*no_such_setting"),
        ({"sslmode": "sometimes"}, "No session with 127.0.0.1.*sslmode"),
    ],
)
def test_a_refused_session_is_one_sentence(walled: postgres.Server, changes: dict[str, str], sentence: str) -> None:
    """Each way in which a server refuses is told apart, in one sentence with a hint and without the password."""
    good = resolve(walled.dsn(), None, [], {}, Path()).conninfo
    with psycopg.connect(**good):  # type: ignore[arg-type]
        pass
    error = failure(good | changes)
    assert isinstance(error, ConnectionFailedError)
    with pytest.raises(ConnectionFailedError, match=sentence):
        raise error


def test_a_message_that_repeats_the_password_is_cleaned(walled: postgres.Server) -> None:
    """Where the server's own words hold the password, it is blotted out."""
    good = resolve(walled.dsn(), None, [], {}, Path()).conninfo
    error = failure(good | {"user": "fisher", "password": "swordfish", "options": "-c swordfish=1"})
    assert "***" in error.message
    assert "swordfish" not in error.message


def test_a_database_that_may_not_be_entered_names_the_grant(walled: postgres.Server) -> None:
    """Without CONNECT the hint is the exact GRANT, names quoted where SQL wants it."""
    good = resolve(walled.dsn(), None, [], {}, Path()).conninfo
    error = failure(good | {"user": "outsider", "password": SECRET, "dbname": "closed shop"})
    assert isinstance(error, PrivilegeError)
    assert 'GRANT CONNECT ON DATABASE "closed shop" TO "outsider";' in error.hint


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_a_certificate_that_does_not_fit_is_told(tmp_path: Path) -> None:
    """TLS works where it is not verified, and where it is, the reason of the refusal is told in the sentence."""
    tmp_path.chmod(0o755)
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other", "-days", "2"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with postgres.throwaway(sockets=False) as running:
        for file in (key, certificate):
            shutil.copy(file, running.folder / "data")
            os.chown(running.folder / "data" / file.name, *owner(running.folder))
            (running.folder / "data" / file.name).chmod(0o600)
        with psycopg.connect(running.dsn(), autocommit=True) as conn:
            conn.execute("ALTER SYSTEM SET ssl_cert_file = 'cert.pem'")
            conn.execute("ALTER SYSTEM SET ssl_key_file = 'key.pem'")
            conn.execute("ALTER SYSTEM SET ssl = on")
            conn.execute("SELECT pg_reload_conf()")
        good = resolve(running.dsn(), None, [], {}, Path()).conninfo
        with within(10, lambda: connect(Target(good | {"sslmode": "require"}, "the test"))) as conn:
            assert conn.pgconn.ssl_in_use
        error = failure(good | {"sslmode": "verify-full", "sslrootcert": str(certificate)})
        assert re.search('No TLS session with 127.*certificate for "other" does not match', error.message)


def test_a_role_that_is_not_there_is_told(server: postgres.Server) -> None:
    """Where no password is asked for, an unknown role is called unknown."""
    conninfo = resolve(server.dsn(user="nobody-here"), None, [], {}, Path()).conninfo
    assert "has no role nobody-here" in failure(conninfo).message


def test_a_port_without_a_server_and_a_silent_one_are_told_apart() -> None:
    """Nobody listening is told at once, a server that never answers after connect_timeout."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        conninfo = {"host": "127.0.0.1", "port": str(deaf.getsockname()[1]), "connect_timeout": "2"}
        assert "Nothing listens at 127.0.0.1" in failure(conninfo).message
        deaf.listen()
        assert "did not answer in time" in failure(conninfo).message


def session(dsn: str) -> Connection:
    """Open a session as the program does."""
    return connect(resolve(dsn, None, [], {}, Path()))


def test_a_session_is_named_and_bounded(empty_db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions carry the program's name unless the source names them, and do not wait for ever for a dead server."""
    with session(empty_db) as conn:
        assert conn.execute("SHOW application_name").fetchall() == [("listmonk-doctor",)]
        assert conn.autocommit
        assert conn.info.get_parameters()["connect_timeout"] == "10"
        assert conn.prepare_threshold is None
    with session(f"{empty_db}&application_name=mine&connect_timeout=3") as conn:
        assert conn.execute("SHOW application_name").fetchall() == [("mine",)]
        assert conn.info.get_parameters()["connect_timeout"] == "3"
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "7")
    with session(empty_db) as conn:
        assert conn.info.get_parameters()["connect_timeout"] == "7"


def test_the_environment_of_libpq_really_connects(empty_db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PGHOST, PGDATABASE and PGUSER, and listmonk's own configuration, lead to the database that they name."""
    known = resolve(empty_db, None, [], {}, Path()).conninfo
    environ = {"PGHOST": known["host"], "PGDATABASE": known["dbname"], "PGUSER": "postgres"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with connect(resolve(None, None, [], environ, Path("/"))) as conn:
        assert conn.info.dbname == known["dbname"]
    own = {
        "LISTMONK_db__host": known["host"],
        "LISTMONK_db__database": known["dbname"],
        "LISTMONK_db__user": "postgres",
        "LISTMONK_db__params": "search_path=pg_catalog,mail",
    }
    with connect(resolve(None, None, [], own, Path("/"))) as conn:
        assert conn.execute("SHOW search_path").fetchall() == [("pg_catalog,mail",)]


def test_a_service_really_connects(empty_db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--service NAME reads libpq's service file."""
    known = resolve(empty_db, None, [], {}, Path()).conninfo
    lines = "\n".join(f"{key}={value}" for key, value in known.items())
    (tmp_path / "services").write_text(f"[mine]\n{lines}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    with connect(resolve(None, "mine", [], {}, Path("/"))) as conn:
        assert conn.info.dbname == known["dbname"]


def test_the_tables_on_the_search_path_are_found(incident_db: Callable[..., str]) -> None:
    """An ordinary listmonk lives in public."""
    with session(incident_db("seed-v4.1.0")) as conn:
        assert find_schema(conn) == "public"
        assert find_schema(conn, "public") == "public"


def test_tables_in_another_schema_are_found_if_there_is_only_one(incident_db: Callable[..., str]) -> None:
    """Off the search_path one schema is taken, two must be chosen from by --schema; the search_path decides first."""
    with session(incident_db("seed-v4.1.0")) as conn:
        conn.execute('ALTER SCHEMA public RENAME TO "My Mail"')
        assert find_schema(conn) == "My Mail"
        conn.execute("CREATE SCHEMA other")
        for table in ("campaigns", "subscribers", "subscriber_lists", "lists", "campaign_lists", "settings"):
            conn.execute(sql.SQL("CREATE TABLE other.{} (id int)").format(sql.Identifier(table)))
        with pytest.raises(UnknownSchemaError, match="in several schemas: My Mail, other") as caught:
            find_schema(conn)
        assert "--schema" in caught.value.hint
        assert find_schema(conn, "My Mail") == "My Mail"
        conn.execute("SET search_path = other")
        assert find_schema(conn) == "other"
        sentence = r'The schema "absent" of the database .* has no listmonk tables'
        with pytest.raises(UnknownSchemaError, match=sentence) as caught:
            find_schema(conn, "absent")
        assert "My Mail, other" in caught.value.hint


def test_a_database_without_listmonk_is_called_so(empty_db: str) -> None:
    """An empty database, and one that has only some of the tables, are told apart by the hint."""
    with session(empty_db) as conn:
        with pytest.raises(UnknownSchemaError, match=r'database "t\d+" has no listmonk tables') as caught:
            find_schema(conn)
        assert "right database" in caught.value.hint
        for table in ("campaigns", "subscribers", "subscriber_lists", "lists", "campaign_lists"):
            conn.execute(sql.SQL("CREATE TABLE {} (id int)").format(sql.Identifier(table)))
        with pytest.raises(UnknownSchemaError) as caught:
            find_schema(conn)
        assert caught.value.hint == 'The schema "public" has some of them; missing: settings.'


@pytest.fixture
def reader(server: postgres.Server) -> Iterator[str]:
    """Give the name of a role that may log in and nothing else, in need of quotes."""
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute('CREATE ROLE "mail reader" LOGIN')
        yield "mail reader"
        conn.execute('DROP ROLE "mail reader"')


def test_the_missing_privileges_are_named_as_grants(
    incident_db: Callable[..., str],
    server: postgres.Server,
    reader: str,
) -> None:
    """A role without privileges is told the exact GRANT lines, and when they are run it can read."""
    dsn = incident_db("seed-v4.1.0")
    with session(dsn) as owner:
        owner.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
        name = owner.info.dbname
        with session(server.dsn(name, user=reader)) as conn:
            with pytest.raises(PrivilegeError, match='The role "mail reader" may not read') as caught:
                find_schema(conn)
            grants = caught.value.hint.removeprefix("Have the owner run: ")
            owner.execute('GRANT SELECT ON ALL TABLES IN SCHEMA public TO "mail reader"')
            with pytest.raises(PrivilegeError) as without_usage:
                find_schema(conn)
            assert without_usage.value.hint == 'Have the owner run: GRANT USAGE ON SCHEMA "public" TO "mail reader";'
            owner.execute('REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM "mail reader"')
            assert grants.startswith('GRANT USAGE ON SCHEMA "public" TO "mail reader"; GRANT SELECT ON "public"."bo')
            owner.execute(grants.encode())
            assert find_schema(conn) == "public"
            with snapshot(conn, schema="public") as cursor:
                assert recorded_versions(cursor)[-1] == "v4.1.0"
        owner.execute('DROP OWNED BY "mail reader"')


@pytest.mark.parametrize(
    "value",
    [None, "{}", "[]", '"v4.1.0"', "[4]", "null", '[["v4.1.0"]]'],
)
def test_a_version_that_cannot_be_read_is_called_so(incident_db: Callable[..., str], value: str | None) -> None:
    """A missing or misshapen record of the migrations is an unknown schema, not a guess."""
    with session(incident_db("seed-v4.1.0")) as conn:
        with snapshot(conn, schema="public") as cursor:
            assert recorded_versions(cursor) == ("v4.1.0",)
        if value is None:
            conn.execute("DELETE FROM settings WHERE key = 'migrations'")
        else:
            conn.execute("UPDATE settings SET value = %s::jsonb WHERE key = 'migrations'", [value])
        with snapshot(conn, schema="public") as cursor, pytest.raises(UnknownSchemaError, match="version of this"):
            recorded_versions(cursor)
