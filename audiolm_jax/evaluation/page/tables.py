"""Tables of text cells, for pages and for Markdown, and numbers as their cells show them."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Table:
    """Text cells under heads; the first cell of a row names it. Pages show it with `data_table`."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def markdown(self) -> str:
        """The table without its caption, numbers to the right; a bar in a cell becomes a slash."""
        lines = [self.heads, ["---"] + ["---:"] * (len(self.heads) - 1), *self.rows]
        return "".join(
            "| " + " | ".join(cell.replace("|", "/") for cell in line) + " |\n" for line in lines
        )


def number(value: int | float | None, digits: int) -> str:
    """A number with fixed digits and thousands apart; a dash where there is none."""
    if value is None or value != value:
        return "\N{EN DASH}"
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def with_interval(mean: float, low: float, high: float, digits: int) -> str:
    """A mean and, in brackets, its interval."""
    middle, *ends = (number(value, digits) for value in (mean, low, high))
    return f"{middle} ({ends[0]} to {ends[1]})"


def duration(seconds: float) -> str:
    """A stretch of time as a reader would say it."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:,.0f} hours"


def percent(share: float | None) -> str:
    """A share in percent; empty where there is none."""
    return "" if share is None else f"{100 * share:.2f}"
