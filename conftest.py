"""How a run of the tests uses the machine; what they need stands in the folders' own files."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

_folder = ""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """``-n auto``: one more than there are cores, for much of the time a test waits."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) + 1
    return (os.cpu_count() or 1) + 1


def pytest_configure(config: pytest.Config) -> None:
    """Let the many processes of a run share what they compile, where Python keeps nothing of it.

    Whoever does not want that beside the sources has it in a folder that goes with the run.
    """
    global _folder  # noqa: PLW0603 - of this process, which removes it
    if getattr(config.option, "maxschedchunk", 0) is None:
        # Else pytest-xdist hands out a twelfth of all tests at once, whatever is in it.
        config.option.maxschedchunk = 64
    if sys.dont_write_bytecode and "PYTHONPYCACHEPREFIX" not in os.environ:
        _folder = tempfile.mkdtemp(prefix="perdure-test-compiled-")
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = _folder
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        sys.dont_write_bytecode = False


def pytest_unconfigure() -> None:
    """Remove it; not in a worker, which has found the folder of the run in its environment."""
    if _folder:
        shutil.rmtree(_folder, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Do not look for garbage among the tests themselves: they stay until the end of the run."""
    gc.disable()
    try:
        _import_own_share(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _import_own_share(config: pytest.Config) -> None:
    """Import some of the test modules first, in a worker of a whole run, as others do the rest.

    To rewrite the asserts of a module takes longer than to import it, and is kept for those who
    come later. All beginning with the same module, each of them would rewrite every one.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker.startswith("gw") or config.args != config.getini("testpaths"):
        return
    number, count = int(worker[2:]), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    files = sorted(file for arg in config.args for file in Path(arg).rglob("test_*.py"))
    for file in files[number::count]:
        # What is wrong with it, or skips it, is told when it is collected.
        with suppress(Exception, pytest.skip.Exception):
            import_module(".".join(file.with_suffix("").parts).removeprefix("src."))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """End with tests that are short: one worker is not left alone with a long one."""
    contract = [item for item in items if "contract" in item.path.parts]
    last = set(contract[: len(contract) // 6])
    items.sort(key=last.__contains__)
