"""The life of an evaluation: found finished and left alone, or measured and recorded."""

import abc
import json
import logging
from pathlib import Path
from typing import Any, ClassVar

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.artifacts.config_json import config_hash
from audiolm_jax.experiments.base import Experiment

logger = logging.getLogger(__name__)


class Evaluation(Experiment):
    """An experiment that measures what is there and writes a page, then a record in JSON; it is
    finished if the record holds the facts of now."""

    verb: ClassVar[str] = "evaluate"
    page: ClassVar[str]  # the file of the directory that people read
    record: ClassVar[str]

    @abc.abstractmethod
    def facts(self) -> dict[str, Any]:
        """What decides the result beside the config: fingerprints, hashes, versions."""

    @abc.abstractmethod
    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Measures, writes the page, and returns what the record holds beside the facts."""

    def run(self) -> Path:
        """Measures unless that is done; returns the page."""
        page, record = (Path(self.directory) / name for name in (self.page, self.record))
        facts = {"config_hash": config_hash(self), **self.facts()}
        is_there = page.is_file() and record.is_file()
        if is_there and json.loads(record.read_text()).get("of") == facts:
            logger.info("%s: finished already, nothing to do", page)
            return page
        write_json(record, {"of": facts, **self.measure(facts)})
        hint = ", open it in a browser" if page.suffix == ".html" else ""
        logger.info("%s: written%s", page, hint)
        return page
