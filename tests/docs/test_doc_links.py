"""Every link of the documentation leads somewhere, and every page is reached."""

from urllib.parse import unquote, urlsplit

import pytest
from support.doc_pages import PAGES, ROOT, anchors, links, name


def dead(page):
    found = []
    for line, place in links(page):
        address = urlsplit(place)
        if address.scheme or address.netloc:
            continue
        file = (page.parent / unquote(address.path)).resolve() if address.path else page
        if not file.exists():
            found.append(f"{name(page)}:{line}: {place}: no such file")
        elif address.fragment and unquote(address.fragment) not in anchors(file):
            found.append(f"{name(page)}:{line}: {place}: no such heading")
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    assert dead(page) == []


def test_a_dead_link_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr("support.doc_pages.ROOT", tmp_path)
    page = tmp_path / "a.md"
    page.write_text("# Here `now`\n\n[a](b.md) [b](#here-now) [c](#there) ![d](e.svg)\n")
    found = [line.rpartition(": ")[0] for line in dead(page)]
    assert found == ["a.md:3: b.md", "a.md:3: #there", "a.md:3: e.svg"]


def test_the_list_of_pages_has_each_of_them():
    listed = {
        (ROOT / "docs" / urlsplit(place).path).resolve()
        for _, place in links(ROOT / "docs/README.md")
    }
    there = {page.resolve() for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert there - listed == {ROOT / "docs/README.md"}


def test_every_picture_is_shown():
    shown = {
        (page.parent / urlsplit(place).path).resolve() for page in PAGES for _, place in links(page)
    }
    pictures = {
        path.resolve() for kind in ("svg", "png") for path in (ROOT / "docs").rglob(f"*.{kind}")
    }
    assert pictures - shown == set()
