"""The colors of pages and charts, in a light and a dark scheme: CSS variables and matplotlib's."""

from typing import Literal

Scheme = Literal["light", "dark"]
_COLORS = {  # (light, dark)
    "paper": ("#fbfaf7", "#14161a"),
    "card": ("#ffffff", "#1d2026"),
    "ink": ("#1d2129", "#e7e9ee"),
    "soft": ("#5b6472", "#a2aab8"),
    "line": ("#dfe1e6", "#343943"),
    "accent": ("#1f5fbf", "#7fb0ff"),
    "good": ("#1a7a42", "#66cc8f"),
    "bad": ("#b3361e", "#ff917a"),
    "track": ("#e9ebef", "#343943"),
}
PALETTES: dict[Scheme, dict[str, str]] = {
    "light": {name: light for name, (light, _) in _COLORS.items()},
    "dark": {name: dark for name, (_, dark) in _COLORS.items()},
}
CURVES: dict[Scheme, tuple[str, ...]] = {
    "light": ("#1f5fbf", "#c8501e", "#2c8a57", "#8a4bb5", "#a17c0b", "#b93a74"),
    "dark": ("#7fb0ff", "#ff9d6b", "#66cc8f", "#cf9bf2", "#e3c04e", "#ff8dbb"),
}
MAX_CURVES = len(CURVES["light"])
