"""Scores what raters answered, by the paper's binomial test."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.artifacts.identity import Place
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.lifecycle import Evaluation, tell
from audiolm_jax.evaluation.listening.trials import (
    KEY,
    MODEL,
    RECORDING,
    Answers,
    Key,
    read_answers,
    read_key,
)
from audiolm_jax.evaluation.measures.bootstrap import bootstrap
from audiolm_jax.evaluation.page.tables import Table, number


@dataclasses.dataclass(frozen=True)
class ListeningScoreExperiment(Evaluation):
    """Score a listening test: how often raters were right, or which models they preferred."""

    page: ClassVar[str] = "score.md"
    record: ClassVar[str] = "score.json"

    directory: Place
    """Where score.md and score.json go."""
    test: Place
    """Directory of the test, with its key."""
    answers: tuple[Place, ...]
    """A file of each rater, as the page saved it."""
    seed: int = 0
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        if not self.answers:
            raise InputError("--answers: expected a file of each rater")

    def facts(self) -> dict[str, Any]:
        """Hashes of the key and of every rater's answers."""
        files = [Path(self.test) / KEY, *map(Path, self.answers)]
        for path in files:
            if not path.is_file():
                raise InputError(f"{path}: not found")
        return {"files": [file_sha256(path) for path in files]}

    def data_facts(self) -> dict[str, Any]:
        """Nothing: the recordings are in the test."""
        return {}

    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Counts, tests and writes the tables."""
        key = read_key(Path(self.test))
        raters = [read_answers(Path(path), key) for path in self.answers]
        names = [rater.rater for rater in raters]
        if double := next((name for name in names if names.count(name) > 1), None):
            raise InputError(f"--answers: two files are by {double!r}; name each rater once")
        rows = [Row.of("all raters", key, raters, self.seed)]
        rows += [Row.of(rater.rater, key, [rater], self.seed) for rater in raters]
        if key.kind == "real_or_continued":
            for truth in (RECORDING, MODEL):
                trials = tuple(trial for trial in key.trials if trial.truth == truth)
                part = dataclasses.replace(key, trials=trials)
                rows.append(Row.of(f"all raters, of {truth}s", part, raters, self.seed))
        text = _text(key, rows)
        write_text(Path(self.directory) / self.page, text)
        tell(text)
        return {"data": {}, "test": key.test, "rows": [dataclasses.asdict(row) for row in rows]}


@dataclasses.dataclass(frozen=True)
class Row:
    """Some of the answers against the key."""

    label: str
    answers: int
    unanswered: int
    right: int  # as the key has it: right, or for the bundle asked about
    low: float | None  # share of right answers, exact 95 % interval of Clopper and Pearson
    high: float | None
    chance: float | None  # two-sided binomial test against one half
    trials_low: float | None  # 95 % interval of a bootstrap over trials, which several answer
    trials_high: float | None

    @classmethod
    def of(cls, label: str, key: Key, raters: Sequence[Answers], seed: int) -> "Row":
        """Of these raters and the trials of the key."""
        from scipy.stats import binomtest

        table = np.array(
            [
                [
                    sum(rater.by_trial.get(trial.number) == trial.truth for rater in raters),
                    sum(trial.number in rater.by_trial for rater in raters),
                ]
                for trial in key.trials
            ],
            np.float64,
        )
        right, answers = (int(total) for total in table.sum(axis=0))
        missing = len(raters) * len(key.trials) - answers
        if not answers:
            return cls(label, 0, missing, 0, None, None, None, None, None)
        test = binomtest(right, answers)
        exact = test.proportion_ci(method="exact")
        over_trials = bootstrap(table[:, 0], table[:, 1], seed)
        assert over_trials is not None
        chance, interval = float(test.pvalue), (float(exact.low), float(exact.high))
        return cls(
            label,
            answers,
            missing,
            right,
            *interval,
            chance,
            over_trials.low,
            over_trials.high,
        )


def _text(key: Key, rows: Sequence[Row]) -> str:
    what = "right" if key.kind == "real_or_continued" else "for the bundle asked about"
    heads = ("", "answers", "missing", f"{what}, %", "95 %, exact", "chance", "95 %, over trials")
    cells = [
        (
            row.label,
            str(row.answers),
            str(row.unanswered),
            number(100 * row.right / row.answers if row.answers else None, 1),
            _interval(row.low, row.high),
            number(row.chance, 4),
            _interval(row.trials_low, row.trials_high),
        )
        for row in rows
    ]
    paper = (
        "The paper (section IV-G): 51.2 % of 1,000 answers right, chance 0.23: its raters could "
        "not tell.\n"
        if key.kind == "real_or_continued"
        else "The paper (section IV-I): 83.3 % for AudioLM over a model of acoustic tokens alone.\n"
    )
    return "\n".join(
        [
            "# What was heard\n",
            f"Test {key.test}, {len(key.trials)} questions. `chance` is that of a result so far "
            "from one half, or farther, of raters who guess (binomial test, two-sided). It takes "
            "all answers for independent; where several raters answer one question they are not, "
            "so look at the interval over questions, too.\n",
            Table(heads, cells).markdown(),
            paper,
        ]
    )


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return number(None, 1)
    return f"{number(100 * low, 1)} to {number(100 * high, 1)}"
