"""Names as they are shown: nothing invisible, nothing that means something to the reader."""

from __future__ import annotations

import html

import pytest

from mergan.system.text import markdown, natural_order, shown


@pytest.mark.parametrize(
    "name",
    [
        "cat",
        "日本",
        "кот",
        "é",
        "e\u0301",
        "قطة",
        "$10_$20",
        r"\frac",
        "a|b",
        "=1",
        "T-shirt/top",
        "🐈",
        "a b",
    ],
)
def test_what_is_drawn_stays(name: str) -> None:
    assert shown(name) == name


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("a\nb", r"a\x0ab"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\x9bb\x7f", r"a\x9bb\x7f"),
        ("exe\u202egnp", r"exe\u202egnp"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("a\u2028b\u2029c\u0085", r"a\u2028b\u2029c\x85"),
        ("b\udcff", r"b\udcff"),
        ("\ue000\U000e0041\U0010ffff", r"\ue000\U000e0041\U0010ffff"),
        ("a\u00a0b\u3164\ufe0f", r"a\xa0b\u3164\ufe0f"),
    ],
)
def test_what_is_not_drawn_is_escaped(name: str, escaped: str) -> None:
    assert shown(name) == escaped
    assert markdown(name).isprintable()


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "a|b", "`x`", "*a* _b_ __c__", "[a](b)", "![a](b)", "a & b &amp;",
     "\\|", "# a", "- a", "1. a", "~~a~~", "https://a.b", "a@b.c", "www.a.b", " a  b ", "$10_$20", "a_b_",
     "\"'", "{x}", "=1"],
)  # fmt: skip
def test_markdown_leaves_no_markup_and_reads_back_as_the_name(name: str) -> None:
    cell = markdown(name)
    assert not set(cell) & set("|<>`*[]\\~\"'") and html.unescape(cell) == name


@pytest.mark.parametrize("name", ["finetune", "joint_retrain", "dcgan_1.5-b", "0.93", "日本", "a b"])
def test_ordinary_names_need_no_entity(name: str) -> None:
    assert markdown(name) == name


@pytest.mark.parametrize(
    "names",
    [
        [str(number) for number in range(13)],
        ["Z", "a", "a1", "a1b2", "a1b10", "a2", "a10", "b"],
        ["1.2", "1.10", "2"],
        ["\u0661", "\u0662", "\u0661\u0660"],
        ["class 9", "class 09", "class 10", "class " + "9" * 249],
        ["7", "07", "007", "8"],
    ],
)
def test_numbers_in_names_are_sorted_as_numbers(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(backwards, key=natural_order) == names
