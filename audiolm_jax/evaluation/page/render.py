"""HTML pages from the templates beside this module, which escape every text that is put in; a page
is one file with everything inside it, and its policy forbids the browser to load anything."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

from audiolm_jax.evaluation.page.listening import Example, players
from audiolm_jax.evaluation.page.palette import PALETTES
from audiolm_jax.evaluation.page.tables import duration, number
from audiolm_jax.evaluation.page.training import TrainerSummary, training_charts


@dataclasses.dataclass(frozen=True)
class Page(abc.ABC):
    """What every page shows; its templates know it as `content`."""

    title: str
    summary: str  # one or two sentences: what was run or measured, on what
    sample_rate_hz: int  # of every clip to listen to
    examples: tuple[Example, ...]
    trainers: tuple[TrainerSummary, ...]  # in the order they ran
    provenance: Mapping[str, str]  # config hash, fingerprints, seeds, versions
    data_licence: str  # where the recordings come from and on what terms

    @abc.abstractmethod
    def sections(self) -> dict[str, tuple[str, object]]:
        """(heading, what it shows) by key, anchor and template; left out with nothing to show."""

    def render(self) -> str:
        """The page as text; equal content gives equal text."""
        return (
            environment()
            .get_template("page.html.j2")
            .render(
                content=self,
                sections={
                    key: heading for key, (heading, shown) in self.sections().items() if shown
                },
                palettes=PALETTES,
                players=players(self.examples, self.sample_rate_hz),
                training_charts=training_charts(self.trainers),
            )
        )


def environment() -> Any:
    """The templates, as a `jinja2.Environment`."""
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.PackageLoader(__name__.rpartition(".")[0]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {"number": number, "duration": duration}
    return found
