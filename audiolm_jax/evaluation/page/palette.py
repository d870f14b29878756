"""The colors of pages and charts, in a light and a dark scheme: CSS variables and matplotlib's."""

from typing import Literal

Scheme = Literal["light", "dark"]
PALETTES: dict[Scheme, dict[str, str]] = {
    "light": {
        "paper": "#fbfaf7",
        "card": "#ffffff",
        "ink": "#1d2129",
        "soft": "#5b6472",
        "line": "#dfe1e6",
        "accent": "#1f5fbf",
        "good": "#1a7a42",
        "bad": "#b3361e",
        "track": "#e9ebef",
    },
    "dark": {
        "paper": "#14161a",
        "card": "#1d2026",
        "ink": "#e7e9ee",
        "soft": "#a2aab8",
        "line": "#343943",
        "accent": "#7fb0ff",
        "good": "#66cc8f",
        "bad": "#ff917a",
        "track": "#343943",
    },
}
CURVES: dict[Scheme, tuple[str, ...]] = {
    "light": ("#1f5fbf", "#c8501e", "#2c8a57", "#8a4bb5", "#a17c0b", "#b93a74"),
    "dark": ("#7fb0ff", "#ff9d6b", "#66cc8f", "#cf9bf2", "#e3c04e", "#ff8dbb"),
}
MAX_CURVES = len(CURVES["light"])
