"""The pages of the documentation: their links, headings, commands and code."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda page: page.as_posix()
)
_MARKDOWN = MarkdownIt("commonmark").enable("table")


class Command(NamedTuple):
    """A command line of a page, its lines joined, its comment taken off."""

    page: str
    line: int
    text: str


def name(page):
    return page.relative_to(ROOT).as_posix()


def tokens(page):
    return _MARKDOWN.parse(page.read_text(encoding="utf-8"))


def links(page):
    """Where a page links to, and the pictures that it shows, with the line of each."""
    found = []
    for token in tokens(page):
        for child in token.children or ():
            place = child.attrGet("href") or child.attrGet("src")
            if place:
                found.append((token.map[0] + 1, place))
    return found


def anchors(page):
    """What may stand behind # in a link to a page, as code hosts make it of headings."""
    parsed = tokens(page)
    found = set()
    for number, token in enumerate(parsed):
        if token.type == "heading_open":
            parts = parsed[number + 1].children
            text = "".join(part.content for part in parts if part.type in ("text", "code_inline"))
            found.add(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-"))
    return found


def code_blocks(page, language):
    """The fenced blocks of a language with their first lines; those without one are ""."""
    return [
        (token.map[0] + 1, token.content)
        for token in tokens(page)
        if token.type in ("fence", "code_block") and token.info.strip() == language
    ]


def commands(page, program):
    """The command lines of a program in the code blocks of a page."""
    blocks = code_blocks(page, "") + code_blocks(page, "sh")
    found = []
    for first, block in blocks:
        lines = block.replace("\\\n", "\\ ").split("\n")
        number = first
        for line in lines:
            text = line.replace("\\ ", " ")
            text = re.sub(r"^\s*(\$ )?([A-Z_]+=\S+ )*(\.venv/bin/)?", "", text)
            if re.match(rf"{re.escape(program)}(\s|$)", text):
                if page == ROOT / "README.md":  # a table: what the line is for stands beside it
                    text = re.split(r"\s{2,}", text)[0]
                found.append(Command(name(page), number, text))
            number += 1 + line.count("\\ ")
    return found


def words(text):
    """Of a command line up to a pipe, its comment taken off."""
    split = shlex.split(text, comments=True)
    ends = [number for number, word in enumerate(split) if word in ("|", "&&", ";", ">")]
    return split[: min(ends, default=len(split))]
