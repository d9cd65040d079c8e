"""What the project's own files promise to each other and to the reader."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import perdure

ROOT = Path(__file__).parents[2]
# A folder of a machine somebody worked on: a home, a work folder, a scratch folder.
MACHINE_PATH = re.compile(r"(?<![\w.$}])/(?:work|root|home/\w+|Users/\w+|tmp/\w+)/")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def readme_commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", read("README.md"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if " -m venv " in line]


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: there is no list of tracked files")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_readme_has_two_commands_that_set_up_all_they_need() -> None:
    commands = readme_commands()

    assert [command.split("&& ")[-1] for command in commands] == [
        ".venv/bin/perdure demo",
        ".venv/bin/pytest -q -n auto",
    ]


def test_the_check_finds_both_commands_in_the_readme() -> None:
    endings = re.findall(r"readme_command '([^']+)'", read(".ci/run"))

    for command, ending in zip(readme_commands(), endings, strict=True):
        assert command.endswith(ending)
        assert len([line for line in readme_commands() if line.endswith(ending)]) == 1


def test_the_makefile_has_at_most_six_verbs_and_contributing_tells_of_each() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", read("Makefile"), re.MULTILINE)
    assert phony is not None
    verbs = phony[1].split()

    assert len(verbs) <= 6
    assert [verb for verb in verbs if f"`make {verb}`" not in read("CONTRIBUTING.md")] == []


def test_the_newest_changelog_entry_is_of_this_version() -> None:
    versions = re.findall(r"^## \[?(\d+\.\d+\.\d+)", read("CHANGELOG.md"), re.MULTILINE)

    assert versions[0] == perdure.__version__


def test_importing_perdure_loads_only_its_two_dependencies() -> None:
    # What those two load themselves is their affair, and differs with what else is installed.
    script = (
        "import json, sys; import apsw, msgspec; before = set(sys.modules); import perdure;"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )

    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    loaded = set(json.loads(ran.stdout)) - sys.stdlib_module_names
    assert loaded <= {"perdure", "apsw", "msgspec"}


def test_no_source_file_is_longer_than_500_lines() -> None:
    sources = sorted((ROOT / "src").rglob("*.py"))
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in sources}

    assert sources
    assert {name: length for name, length in lengths.items() if length > 500} == {}


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    named = [
        f"{path.relative_to(ROOT).as_posix()}: {line.strip()[:80]}"
        for path in tracked_files()
        if path != Path(__file__)
        for line in path.read_bytes().decode("utf-8", "replace").splitlines()
        if MACHINE_PATH.search(line)
    ]

    assert named == []


def test_the_lock_names_no_index_but_pypi() -> None:
    lock = ROOT / "uv.lock"
    hosts = set(re.findall(r"https?://([^/\"]+)", lock.read_text(encoding="utf-8")))

    assert hosts <= {"pypi.org", "files.pythonhosted.org"}


def test_the_lock_knows_what_the_project_asks_for() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    packages = tomllib.loads(read("uv.lock"))["package"]
    [locked] = [package for package in packages if package["name"] == project["name"]]

    # The lock has the extras of an extra (perdure[cli]) in full, and a package's extras apart.
    # Markers stand in the lock beside the specifier.
    plain = [one.partition(";")[0].strip() for requirements in lists for one in requirements]
    asked = {re.sub(r"\[.*?\]", "", one) for one in plain}
    told = {one["name"] + one.get("specifier", "") for one in locked["metadata"]["requires-dist"]}
    assert told == asked - {project["name"]}
