"""Builds the documentation as a site: `python -m tools.site.build OUT`.

The pages of docs/ are taken as they are; pages of the code are made beside them. Any warning of
Sphinx, any link of the site to what is not in it, and any file that a page would load from
elsewhere is an error.
"""

import argparse
import html.parser
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tools.site.reference import write_pages

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs")
LINKED = ("LICENSE", "audiolm_jax", "benchmarks", "configs", "launch", "tests", "tools")
# What a page loads by itself; `href` of these, and `src` of all, must be of the site.
_LOADED = {"link", "script", "img", "source", "audio", "video", "iframe"}
_FORWARD = """<!doctype html>
<meta charset="utf-8">
<title>audiolm_jax</title>
<meta http-equiv="refresh" content="0; url=docs/README.html">
<a href="docs/README.html">audiolm_jax</a>
"""


def stage(folder: Path) -> None:
    """The sources of the site: pages by copy, what they link to by name."""
    for name in PAGES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, folder / name)
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    write_pages(folder)


def build(out: Path) -> int:
    """Writes the site, if nothing at all is wrong, and returns the status."""
    from sphinx.cmd.build import main as sphinx

    with tempfile.TemporaryDirectory() as scratch:
        sources, site = Path(scratch) / "sources", Path(scratch) / "site"
        sources.mkdir()
        stage(sources)
        strict = ["-W", "--keep-going", "-q", "-E", "-b", "html", "-d", f"{scratch}/doctrees"]
        if status := sphinx([*strict, "-c", str(ROOT / "tools/site"), str(sources), str(site)]):
            return int(status)
        (site / "index.html").write_text(_FORWARD, encoding="utf-8")
        if wrong := broken(site):
            print("\n".join(wrong), file=sys.stderr)
            return 1
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(site, out)
    return 0


class _Page(html.parser.HTMLParser):
    """What a page links to and loads, and what of it can be linked to."""

    def __init__(self, text: str):
        super().__init__()
        self.targets: list[tuple[str, bool]] = []  # address, whether the page loads it by itself
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Sees one tag."""
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.targets.append((value, name == "src" or tag in _LOADED))


def broken(site: Path) -> list[str]:
    """A line for every link of a site to what is not in it, and for what it loads of others."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    found = []
    for path, page in sorted(pages.items()):
        for target, is_loaded in page.targets:
            address = urlsplit(target)
            where = f"{path.relative_to(site)}: {target}"
            if address.scheme == "data":
                continue
            if address.scheme or address.netloc:
                if is_loaded:
                    found.append(f"{where}: is loaded from elsewhere")
                continue
            file = (path.parent / unquote(address.path)).resolve() if address.path else path
            if not file.is_file():
                found.append(f"{where}: no such file")
            elif file in pages and unquote(address.fragment) not in pages[file].anchors | {""}:
                found.append(f"{where}: no such place in it")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser("python -m tools.site.build", description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the site, which is replaced")
    out = parser.parse_args(arguments).out.resolve()
    if out.exists() and not (out / "index.html").is_file():
        print(f"{out}: is no site of this program; move it away", file=sys.stderr)
        return 2
    status = build(out)
    if status == 0:
        print(f"{out / 'index.html'}: {len(list(out.rglob('*.html')))} pages")
    return status


if __name__ == "__main__":
    sys.exit(main())
