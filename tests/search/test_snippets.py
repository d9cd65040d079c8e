"""Which piece of a text is shown."""

from __future__ import annotations

from perdure.features.snippets import CHARACTERS, snippet


def test_it_is_the_piece_with_the_most_marks() -> None:
    gap = "x" * 2 * CHARACTERS
    text = f"heron {gap} heron stork heron {gap} heron heron"

    shown = snippet(text, ["heron", "stork"])

    assert [shown.text[low:high] for low, high in shown.marks] == ["heron", "stork", "heron"]


def test_of_equal_pieces_it_is_the_first() -> None:
    gap = "x" * 2 * CHARACTERS

    shown = snippet(f"a heron {gap} the heron {gap}", ["heron"])

    assert shown.text.startswith("a heron")
    assert shown.marks == ((2, 7),)


def test_of_a_text_that_is_nothing_but_what_was_asked_for_it_is_found_at_once() -> None:
    # Each mark compared with each of the others would take minutes.
    shown = snippet("heron " * 100_000, ["heron"])

    assert shown.marks[0] == (0, 5)
    assert len(shown.marks) == CHARACTERS // len("heron ")
