"""Names from files and folders, made safe for the places where they are shown."""

from __future__ import annotations

import re
import unicodedata

# Control, format, surrogate, private, unassigned characters and separators of lines and paragraphs.
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))

# Drawn as nothing although their category says otherwise: fillers, the blank of Braille, joiners.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc")
_VARIATION = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))

# ASCII punctuation that means something to Markdown or HTML somewhere.
_MARKED = frozenset("!\"#$&'()*+-.:<=>@[\\]_`{|}~")


def shown(text: str) -> str:
    r"""A name for one line of a terminal or a log.

    Characters that are drawn stay as they are. All others, among them line ends, terminal escapes,
    marks that turn the direction of writing and bytes that are no UTF-8, stand as `\xNN`, `\uNNNN` or
    `\UNNNNNNNN`. The plain space is the only space that stays.

    >>> shown("a\x1b[2Jb\u202e.png")
    'a\\x1b[2Jb\\u202e.png'
    """
    return text if _is_plain(text) else "".join(c if _is_drawn(c) else escaped(c) for c in text)


def markdown(text: str) -> str:
    """A name for Markdown, a cell of a table included: it is shown as it is and nothing in it is markup.

    Characters that are not drawn are escaped as by `shown`. Punctuation of Markdown and HTML becomes a
    numeric entity, which no renderer takes for markup; in names of letters, digits, `-`, `_` between
    letters or digits, and single dots nothing changes.

    >>> markdown("a|b")
    'a&#124;b'
    """
    line = shown(text)
    return "".join(
        f"&#{ord(character)};" if _is_markup(line, index) else character
        for index, character in enumerate(line)
    )


def natural_order(name: str) -> tuple[list[tuple[str, int, str]], int, str]:
    """A key that sorts names with the numbers in them as numbers; no two names are equal under it.

    Other characters are sorted by their code. Of names that differ in leading zeros only, the shorter
    comes first.

    >>> sorted(["10", "9", "a"], key=natural_order)
    ['9', '10', 'a']
    """
    parts = []
    for text, digits in re.findall(r"(\D*)(\d*)", name):
        number = "".join(str(unicodedata.decimal(digit)) for digit in digits).lstrip("0")
        # Numbers of more digits are larger; without a number, -1 puts "a" before "a0".
        parts.append((text, len(number) if digits else -1, number))
    return parts, len(name), name


def shortened(name: str, length: int = 40) -> str:
    """A name of at most `length` characters: of a longer one the middle is left out.

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
