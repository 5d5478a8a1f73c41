"""Make names from files and folders safe to show."""

from __future__ import annotations

import re
import unicodedata

# Control, format, surrogate, private, unassigned characters and separators of lines and paragraphs.
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))

# Drawn as nothing although their category suggests otherwise: fillers, the blank of Braille, joiners.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc")
_VARIATION = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))

# ASCII punctuation that has a meaning somewhere in Markdown or HTML.
_MARKED = frozenset("!\"#$&'()*+-.:<=>@[\\]_`{|}~")


def shown(text: str) -> str:
    r"""A name for one line of a terminal or a log.

    Visible characters stay as they are. All others are written as `\xNN`, `\uNNNN` or `\UNNNNNNNN`, e.g. line
    ends, terminal escapes, marks that change the direction of writing, and bytes that are not UTF-8. The
    plain space is the only space that stays.

    >>> shown("a\x1b[2Jb\u202e.png")
    'a\\x1b[2Jb\\u202e.png'
    """
    return text if _is_plain(text) else "".join(c if _is_drawn(c) else escaped(c) for c in text)


def markdown(text: str) -> str:
    """A name for Markdown text or a table cell: it is shown literally, and nothing in it is markup.

    Invisible characters are escaped as by `shown`. Punctuation of Markdown and HTML becomes a numeric entity,
    which no renderer takes for markup. Nothing changes in names that consist of letters, digits, single dots,
    and `-` or `_` between letters or digits.

    >>> markdown("a|b")
    'a&#124;b'
    """
    line = shown(text)
    return "".join(
        f"&#{ord(character)};" if _is_markup(line, index) else character
        for index, character in enumerate(line)
    )


def natural_order(name: str) -> tuple[list[tuple[str, int, str]], int, str]:
    """A sort key that compares numbers inside names as numbers; no two names have the same key.

    Other characters are sorted by their code. If names differ only in leading zeros, the shorter one comes
    first.

    >>> sorted(["10", "9", "a"], key=natural_order)
    ['9', '10', 'a']
    """
    parts = []
    for text, digits in re.findall(r"(\D*)(\d*)", name):
        number = "".join(str(unicodedata.decimal(digit)) for digit in digits).lstrip("0")
        # Numbers with more digits are larger; without a number, -1 puts "a" before "a0".
        parts.append((text, len(number) if digits else -1, number))
    return parts, len(name), name


def shortened(name: str, length: int = 40) -> str:
    """A name of at most `length` characters: a longer name loses its middle.

    >>> shortened("a" * 30 + "b" * 30, 9)
    'aaaa…bbbb'
    """
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[len(name) - tail :]}"


def escaped(character: str) -> str:
    r"""`\xNN`, `\uNNNN` or `\UNNNNNNNN` for a character."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_drawn(character: str) -> bool:
    """Whether `shown` leaves a character as it is."""
    code = ord(character)
    return (
        (character == " " or unicodedata.category(character) != "Zs")
        and unicodedata.category(character) not in _INVISIBLE
        and character not in _BLANK
        and not any(code in part for part in _VARIATION)
    )


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _is_markup(line: str, index: int) -> bool:
    character = line[index]
    if character not in _MARKED:
        # Spaces at the ends and double ones would be dropped.
        return character == " " and (index in (0, len(line) - 1) or line[index - 1] == " ")
    inside = 0 < index < len(line) - 1 and line[index - 1].isalnum() and line[index + 1].isalnum()
    # "www.a" and "a@b.c" become links by themselves in some renderers; a dot alone does not.
    return not (inside and (character in "-_" or (character == "." and "www" not in line.lower())))
