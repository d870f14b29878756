"""The life of an evaluation: found finished and left alone, or measured and recorded."""

import abc
import json
import logging
from pathlib import Path
from typing import Any, ClassVar

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.artifacts.config_json import config_hash
from audiolm_jax.artifacts.identity import changes, described, is_moved
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.base import Experiment

logger = logging.getLogger(__name__)


class Evaluation(Experiment):
    """An experiment that measures what is there and writes a page, then a record in JSON; it is
    finished if the record holds the config, the facts and any code from outside of now, wherever
    they lie."""

    verb: ClassVar[str] = "evaluate"
    page: ClassVar[str]  # the file of the directory that people read
    record: ClassVar[str]

    @property
    def needs(self) -> tuple[str, ...]:
        """Those of a page to open in a browser, if it writes one."""
        return ("jinja2", "matplotlib", "PIL") if self.page.endswith(".html") else ()

    @abc.abstractmethod
    def facts(self) -> dict[str, Any]:
        """What decides the result beside config and recordings: fingerprints, hashes, versions."""

    @abc.abstractmethod
    def data_facts(self) -> dict[str, Any]:
        """Fingerprints of what takes long to read: recordings, a recognizer."""

    @abc.abstractmethod
    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Measures, writes the page, and returns what the record holds beside what it is of; "data"
        of it are the `data_facts`."""

    def run(self) -> Path:
        """Measures unless that is done; returns the page."""
        with only_writer(Path(self.directory)):
            return self._run()

    def _run(self) -> Path:
        page, record = (Path(self.directory) / name for name in (self.page, self.record))
        facts = self.facts()
        if page.is_file() and record.is_file() and self._is_of(_read(record), facts):
            logger.info("%s: finished already, nothing to do", page)
            return page
        measured = self.measure({"config_hash": config_hash(self), **facts})
        write_json(record, {"of": described(self) | facts, **measured})
        hint = ", open it in a browser" if page.suffix == ".html" else ""
        logger.info("%s: written%s", page, hint)
        return page

    def _is_of(self, record: dict[str, Any], facts: dict[str, Any]) -> bool:
        there, now = record.get("of", {}), described(self)
        if any(changes(there, now)) or there.get("code") != now.get("code"):
            return False
        if any(there.get(x) != value for x, value in facts.items()):
            return False
        return not is_moved(there, now) or record.get("data") == self.data_facts()


def tell(text: str) -> None:
    """Logs a text of several lines, such as a table: a message is one line."""
    for line in text.splitlines():
        logger.info("%s", line)


def _read(record: Path) -> dict[str, Any]:
    try:
        return json.loads(record.read_text())
    except ValueError as error:
        raise InputError(f"{record}: damaged ({error}); delete it to measure again") from error
