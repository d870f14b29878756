"""The frame of the report page: its style, its script, and the small pieces of HTML it is made of.

Whoever puts text in escapes it here: `element` and `table` escape every string that is not `Html`.
"""

import html
from collections.abc import Sequence


class Html(str):
    """Text that is HTML already and goes in unescaped."""

    __slots__ = ()


def escape(text: object) -> Html:
    """Text as HTML; `Html` passes through."""
    return text if isinstance(text, Html) else Html(html.escape(str(text)))


def element(tag: str, *children: object, **attributes: object) -> Html:
    """One element. A trailing underscore in an attribute's name is dropped, others become dashes.

    A value of True gives a bare attribute; None leaves it out.
    """
    parts = [tag]
    for name, value in attributes.items():
        name = name.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(name)
        elif value is not None:
            parts.append(f'{name}="{html.escape(str(value))}"')
    opening = f"<{' '.join(parts)}>"
    if tag in ("img", "meta"):
        return Html(opening)
    return Html(f"{opening}{''.join(map(escape, children))}</{tag}>")


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Html:
    """A table that scrolls sideways on a narrow screen; the first column heads its row."""
    header = element("tr", *(element("th", head, scope="col") for head in heads))
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell) for cell in row[1:]),
            class_="total" if row[0] == "all" else None,
        )
        for row in rows
    ]
    return element(
        "div",
        element(
            "table",
            element("caption", caption),
            element("thead", header),
            element("tbody", *body),
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )


def number(value: int | float | None, digits: int) -> str:
    """A number with fixed digits and thousands apart; a dash where there is none."""
    if value is None or value != value:
        return "\N{EN DASH}"
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def percent_below(value: float) -> Html:
    """How far below a yardstick, with a sign for those who see no colour."""
    if value != value:
        return Html("&ndash;")
    kind, word = ("good", "below") if value > 0 else ("bad", "above")
    return element("span", f"{abs(value):.1f}\N{NO-BREAK SPACE}% {word}", class_=kind)


def sectioned(title: str, summary: str, sections: Sequence[tuple[str, str, Html]]) -> str:
    """The whole page from (key, heading, body) sections, with links to them at the top."""
    links = (element("a", heading, href=f"#{key}") for key, heading, _ in sections)
    header = element(
        "header",
        element("h1", title),
        element("p", summary, class_="lead"),
        element("nav", *links, aria_label="Sections"),
    )
    main = (
        element(
            "section", element("h2", heading, id=f"{key}-title"), body, id=key,
            aria_labelledby=f"{key}-title",
        )
        for key, heading, body in sections
    )  # fmt: skip
    return document(title, Html(header + element("main", *main)))


def document(title: str, body: Html) -> str:
    """The whole page. Its policy forbids the browser to load anything from elsewhere."""
    policy = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Html(STYLE)),
    )
    script = element("script", Html(SCRIPT))
    page = element("html", head, element("body", body, script), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


STYLE = """
:root {
  --paper: #fbfaf7; --card: #ffffff; --ink: #1d2129; --soft: #5b6472; --line: #dfe1e6;
  --accent: #1f5fbf; --good: #1a7a42; --bad: #b3361e; --track: #e9ebef;
  --curve-0: #1f5fbf; --curve-1: #c8501e; --curve-2: #2c8a57; --curve-3: #8a4bb5;
  --curve-4: #a17c0b; --curve-5: #b93a74;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14161a; --card: #1d2026; --ink: #e7e9ee; --soft: #a2aab8; --line: #343943;
    --accent: #7fb0ff; --good: #66cc8f; --bad: #ff917a; --track: #343943;
    --curve-0: #7fb0ff; --curve-1: #ff9d6b; --curve-2: #66cc8f; --curve-3: #cf9bf2;
    --curve-4: #e3c04e; --curve-5: #ff8dbb;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 64rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0.5rem 0; }
h2 { font-size: 1.35rem; margin: 3rem 0 0.75rem; border-top: 1px solid var(--line);
  padding-top: 1.25rem; }
h3 { font-size: 1.05rem; margin: 1.5rem 0 0.25rem; overflow-wrap: anywhere; }
p, li { max-width: 46rem; }
a { color: var(--accent); }
nav { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin-top: 1rem; }
.lead { font-size: 1.1rem; }
.soft { color: var(--soft); }
.expect li { margin-bottom: 0.6rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 0.75rem;
  padding: 1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 0.75rem;
  margin: 1rem 0; }
.tiles b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.example { margin: 1rem 0 1.5rem; }
.example > h3 { margin-top: 0; }
blockquote { margin: 0.25rem 0 0.75rem; padding-left: 0.75rem; border-left: 3px solid var(--line); }
.clips { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
  gap: 1.25rem 1.5rem; }
figure { margin: 0; min-width: 0; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem;
  margin-bottom: 0.3rem; }
.timeline { position: relative; padding-bottom: 1.25rem; }
.picture { position: relative; height: 6.5rem; cursor: pointer; background: #000004;
  border-radius: 4px; overflow: hidden; }
.picture img { display: block; width: 100%; height: 100%; }
.picture span { position: absolute; left: 4px; font-size: 0.68rem; line-height: 1; color: #fff;
  text-shadow: 0 0 3px #000, 0 0 3px #000; transform: translateY(50%); pointer-events: none; }
.picture i, .picture u { position: absolute; top: 0; bottom: 0; width: 0; }
.picture i { border-left: 2px dashed #6fe3ff; }
.picture u { border-left: 2px solid #fff; left: 0; visibility: hidden; }
.tick { position: absolute; bottom: 0; font-size: 0.72rem; color: var(--soft);
  white-space: nowrap; font-variant-numeric: tabular-nums; }
audio { display: block; width: 100%; height: 2.5rem; margin-top: 0.35rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
  gap: 1rem; margin-top: 1rem; }
.curves { width: 100%; height: auto; display: block; }
.curves text { font-family: inherit; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; min-width: 60%; }
caption { text-align: left; font-weight: 600; padding-bottom: 0.4rem; }
th, td { padding: 0.35rem 0.75rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; vertical-align: middle; }
thead th { color: var(--soft); font-weight: 600; font-size: 0.85rem; white-space: normal;
  vertical-align: bottom; }
th:first-child { text-align: left; padding-left: 0; }
tbody th { font-weight: 500; }
tr.total th, tr.total td { font-weight: 700; }
.wrap td, .wrap thead th { white-space: normal; text-align: left; overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); }
.bar { position: relative; width: 8rem; height: 0.7rem; background: var(--track);
  border-radius: 3px; }
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--accent); border-radius: 3px; }
.bar u, .bar s { position: absolute; top: -3px; bottom: -3px; border-left: 2px solid var(--ink); }
.bar s { border-left: 2px dotted var(--bad); }
details { margin: 1rem 0; } summary { cursor: pointer; color: var(--accent); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.85rem; }
"""

# A line that follows the sound, a click that goes to a place, and one player at a time. The page
# loses nothing else without it.
SCRIPT = """
const players = [...document.querySelectorAll("audio")];
for (const player of players) {
  const picture = player.closest("figure").querySelector(".picture");
  const line = picture.querySelector("u");
  const draw = () => {
    line.style.left = 100 * player.currentTime / player.duration + "%";
    line.style.visibility = player.currentTime > 0 ? "visible" : "hidden";
    if (!player.paused) requestAnimationFrame(draw);
  };
  player.addEventListener("play", () => {
    for (const other of players) if (other !== player) other.pause();
    draw();
  });
  player.addEventListener("timeupdate", draw);
  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    player.currentTime = player.duration * (event.clientX - box.left) / box.width;
    player.play();
  });
}
"""
