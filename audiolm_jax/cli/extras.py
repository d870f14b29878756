"""Packages that only some verbs need, and the extra of this package that brings each."""

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterable

from audiolm_jax.errors import InputError

_PACKAGE = "audiolm_jax"
# Imported under another name than their distribution has, underscores aside.
_DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn"}


def check_installed(modules: Iterable[str], needed_by: str) -> None:
    """InputError naming the first of these modules that cannot be imported, and what brings it."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise InputError(f"{needed_by}: {what_brings(module) or f'{module} is not installed'}")


def what_brings(module: str) -> str | None:
    """One line on how to install a module that is missing, by the smallest extra of this package
    that does; None if none does. A module within a package counts as the package.
    """
    top = module.partition(".")[0]
    name = _DISTRIBUTIONS.get(top, top)
    extras = {x: names for x, names in _requirements().items() if _normal(name) in names}
    if not extras:
        return None
    smallest = min(extras, key=lambda extra: len(extras[extra]))
    return f"the package {name} is not installed: pip install '{_PACKAGE}[{smallest}]'"


def _requirements() -> dict[str, list[str]]:
    """Distributions by extra."""
    extras: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires(_PACKAGE) or ():
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if name and extra:
            extras.setdefault(extra[1], []).append(_normal(name[0]))
    return extras


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
