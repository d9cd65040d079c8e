"""From text to words: pure, so without any engine."""

from __future__ import annotations

import pytest

from perdure.features.postings import document, look_up, pack, unpack
from perdure.features.segmentation import QUERY_WORDS, query_words, stem, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Where's my PARCEL?", ["wher", "s", "my", "parcel"]),
        ("mia_li_3668", ["mia", "li", "3668"]),
        ("Straße STRASSE", ["strass", "strass"]),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}bc \N{SUPERSCRIPT TWO}", ["abc", "2"]),
        ("東京都", ["東", "京", "都", "東京", "京都"]),
        ("カナ", ["カ", "ナ", "カナ"]),
        ("abc東京", ["abc", "東", "京", "東京"]),
        ("한국어", ["한", "국", "어", "한국", "국어"]),
        ("हिन्दी", ["हिन्दी"]),
        ("party🎉time", ["parti", "🎉", "tim"]),
        ("a\0b\n\t", ["a", "b"]),
        ("", []),
        ('\'; DROP TABLE x -- NEAR/2 "a" *', ["drop", "tabl", "x", "near", "2", "a"]),
    ],
)
def test_a_text_has_these_words(text: str, found: list[str]) -> None:
    assert words(text) == found


@pytest.mark.parametrize(
    "forms",
    [
        ["book", "books", "booked", "booking", "bookings"],
        ["flight", "flights"],
        ["city", "cities"],
        ["change", "changes", "changed", "changing"],
        ["stop", "stopped", "stopping"],
        ["quick", "quickly"],
        ["pass", "passes", "passed"],
    ],
)
def test_forms_of_an_english_word_are_one_word(forms: list[str]) -> None:
    assert len({stem(form) for form in forms}) == 1


@pytest.mark.parametrize("word", ["bus", "this", "gas", "sing", "bed", "b2b", "über", "ok"])
def test_short_and_foreign_words_keep_their_letters(word: str) -> None:
    assert stem(word) in {word, word.removesuffix("s")}


def test_a_query_leaves_out_what_stands_everywhere_unless_there_is_nothing_else() -> None:
    assert query_words("where is my parcel") == ["parcel"]
    assert query_words("to be or not to be") == ["to", "be", "or", "not"]
    assert query_words("東京") == ["東京"]
    assert query_words("京") == ["京"]
    assert len(query_words(" ".join(f"w{n}" for n in range(500)))) == QUERY_WORDS


def test_a_block_gives_back_what_was_packed() -> None:
    docs = [document("a", "one two two"), document("b\n", ""), document("c", "two 東京 🎉")]

    block = pack(docs)

    assert unpack(block.docs, block.words) == docs
    assert (block.low_key, block.high_key, block.documents, block.length) == ("a", "c", 3, 8)
    held = [1, 0, 0]
    found = look_up(block.words, [stem("two"), stem("one"), "京"], held)
    assert found == {0: [2, 1, 0], 2: [1, 0, 1]}
    assert held == [3, 1, 1]


def test_a_word_is_not_found_in_another_one() -> None:
    block = pack([document("a", "onetwo 0 1")])

    assert look_up(block.words, ["two", "netwo"], [0, 0]) == {}
    assert look_up(block.words, ["0"], [0]) == {0: [1]}
