"""What stands in the place of a store: a path, or something that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("langgraph.checkpoint.base", reason="needs langgraph: see .ci/adapters")

import perdure
from perdure.adapters.langgraph import PerdureSaver, PerdureStore
from tests.adapters.langgraph.making import config, put

pytestmark = pytest.mark.filterwarnings("default")


def test_a_path_is_an_address_too(tmp_path: Path) -> None:
    file = tmp_path / "threads.db"
    with PerdureSaver.from_conn_string(file) as saver:
        put(saver, "t")
    with PerdureSaver.from_conn_string(str(file)) as saver:
        assert saver.get_tuple(config("t")) is not None


@pytest.mark.parametrize("kind", [PerdureSaver, PerdureStore])
@pytest.mark.parametrize("address", ["threads.db", Path("threads.db")])
def test_an_address_in_the_place_of_a_store_is_told_where_it_belongs(
    kind: type[PerdureSaver | PerdureStore], address: str | Path
) -> None:
    said = rf"write {kind.__name__}\.from_conn_string\('threads\.db'\)"

    with pytest.raises(perdure.InvalidError, match=said):
        kind(address)  # type: ignore[arg-type]


def test_what_is_no_store_is_said_so() -> None:
    with pytest.raises(perdure.InvalidError, match="None is no store"):
        PerdureSaver(None)  # type: ignore[arg-type]
