"""Measures whose voice a classifier of speakers hears in the clips of an evaluation of words."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.run_folder import fingerprint_of, model_folder
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.lifecycle import Evaluation, tell
from audiolm_jax.evaluation.measures.bootstrap import Estimate, ratio_of_sums
from audiolm_jax.evaluation.page.tables import Table, number, with_interval

if TYPE_CHECKING:
    from audiolm_jax.classifiers.listen import TrainedClassifier
    from audiolm_jax.evaluation.speakers.clips import WorldClips
    from audiolm_jax.evaluation.speakers.judge import Judge, Judged

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class SpeakersEvaluateExperiment(Evaluation):
    """Measure whether a classifier of speakers knows the voice in what a bundle says, and whether
    that voice stays the prompt's along a continuation.

    The clips are those that a `WorldExperiment` has made; nothing is made again.
    Paper: AudioLM IV-D, Table III; it judges continuations without their prompt.
    """

    page: ClassVar[str] = "table.md"
    record: ClassVar[str] = "speakers.json"

    directory: Place
    """Where table.md and speakers.json go."""
    classifier: Place
    """Run directory or model folder of a classifier that knows the speakers of those clips."""
    world: Place
    """Directory of a finished `WorldExperiment`."""
    window_seconds: float = 1.0
    """Successive windows of a continuation, to see the voice drift in."""
    similarity: bool = True
    """Compare each window with the prompt, by the package resemblyzer."""
    seed: int = 0
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        if not self.window_seconds > 0:
            given = f"--window-seconds {self.window_seconds}"
            raise InputError(f"{given}: expected more than 0")

    def upstream(self) -> dict[str, str]:
        """Fingerprint of the classifier."""
        return {"classifier": fingerprint_of(self.classifier)}

    def facts(self) -> dict[str, Any]:
        """Of the classifier, of what listens, and of the record of the clips."""
        from audiolm_jax.evaluation.speakers.clips import read_report
        from audiolm_jax.evaluation.world.kept import version_of

        world, _ = read_report(Path(self.world))
        return self.upstream() | {
            "world": file_sha256(Path(self.world) / world.record),
            "resemblyzer": version_of("resemblyzer") if self.similarity else None,
        }

    def data_facts(self) -> dict[str, Any]:
        """Of the recordings."""
        from audiolm_jax.evaluation.speakers.clips import read_report
        from audiolm_jax.evaluation.world.selection import open_recordings

        return {"fingerprint": open_recordings(read_report(Path(self.world))[0].data).fingerprint}

    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Hears every clip; writes the tables."""
        from audiolm_jax.classifiers.listen import TrainedClassifier
        from audiolm_jax.data.unheard import check_strange
        from audiolm_jax.evaluation.measures.speaker import SpeakerEncoder
        from audiolm_jax.evaluation.speakers.clips import WorldClips, read_report
        from audiolm_jax.evaluation.speakers.judge import Judge

        classifier = TrainedClassifier.load(model_folder(self.classifier))
        world, record = read_report(Path(self.world))
        check_strange(world.data, {f"--classifier {self.classifier}": classifier.provenance})
        if world.data.sample_rate_hz != (rate := classifier.sample_rate_hz):
            given = f"--world {self.world}: of {world.data.sample_rate_hz} Hz"
            raise InputError(f"{given}, the classifier hears {rate}")
        clips = WorldClips(world, record)
        if strangers := sorted(clips.speakers - {*classifier.classes}):
            raise InputError(
                f"--classifier {self.classifier}: does not know {strangers[0]!r}, one of "
                f"{len(strangers)} speakers of {world.data.source}; train it on recordings of all"
            )
        embed = SpeakerEncoder() if self.similarity else None
        judged = self._judged(clips, Judge(classifier, embed, self.window_seconds))
        measured = self._summary(classifier, judged)
        write_text(Path(self.directory) / self.page, text := _text(measured, facts["classifier"]))
        tell(text)
        items = [dataclasses.asdict(item) for _, _, own in judged for item in own]
        return {"data": record["data"], **measured, "every_clip": items}

    def _judged(self, clips: "WorldClips", judge: "Judge") -> list[tuple[str, str, list["Judged"]]]:
        """("wholes" or "endings", label, clips) of every system."""
        found = []
        for part, systems, read in (
            ("wholes", clips.wholes, clips.read),
            ("endings", clips.endings, clips.end),
        ):
            for system in systems:
                found.append((part, system.label, [judge(heard) for heard in read(system)]))
                logger.info("%s, %s: heard %d clips", part, system.label, len(found[-1][2]))
        return found

    def _summary(
        self, classifier: "TrainedClassifier", judged: list[tuple[str, str, list["Judged"]]]
    ) -> dict[str, Any]:
        """Means with their intervals, by part and system."""
        summary: dict[str, Any] = {
            "classes": len(classifier.classes),
            "chance": 1 / len(classifier.classes),
            "wholes": [],
            "endings": [],
        }
        for part, label, own in judged:
            names = [item.name for item in own]
            row: dict[str, Any] = {"system": label, "accuracy": None, "windows": []}
            row["accuracy"] = _record(self._mean(names, [float(x.is_right) for x in own]))
            if part == "endings":
                for place in range(max(len(item.windows) for item in own)):
                    some = [item for item in own if place < len(item.windows)]
                    begin = place * self.window_seconds
                    row["windows"].append(
                        {"label": f"{begin:g} to {begin + self.window_seconds:g} s"}
                        | {
                            measure: _record(
                                self._mean(
                                    [item.name for item in some],
                                    [getattr(item.windows[place], measure) for item in some],
                                )
                            )
                            for measure in ("accuracy", "similarity")
                        }
                    )
            summary[part].append(row)
        return summary

    def _mean(self, names: Sequence[str], values: Sequence[float | None]) -> Estimate | None:
        """The values of a name, of several seeds, are one draw of the bootstrap; None: not
        defined."""
        pairs = [(0.0, 0.0) if value is None else (value, 1.0) for value in values]
        return ratio_of_sums(names, pairs, self.seed)


def _record(mean: Estimate | None) -> dict[str, Any] | None:
    return None if mean is None else dataclasses.asdict(mean)


def _text(measured: dict[str, Any], fingerprint: str) -> str:
    parts = [
        f"Classifier {fingerprint[:16]} of {measured['classes']} speakers; chance "
        f"{100 * measured['chance']:.1f} %. In brackets 95 % intervals of the bootstrap over "
        "recordings or prompts.\n"
    ]
    captions = {"wholes": "Whole recordings", "endings": "Endings, without their prompt"}
    for part, caption in captions.items():
        rows = [(r["system"], _cell(r["accuracy"], 100.0, 1)) for r in measured[part]]
        if rows:
            parts += [f"{caption}:\n", Table(("system", "accuracy, %"), rows).markdown()]
    for measure, heading, scale, digits in (
        ("accuracy", "Accuracy, %, along the endings", 100.0, 1),
        ("similarity", "Cosine to the prompt's d-vector along the endings", 1.0, 3),
    ):
        found = [row for row in measured["endings"] if any(x[measure] for x in row["windows"])]
        if found:
            longest = max((row["windows"] for row in found), key=len)
            rows = [
                (row["system"], *(_cell(x[measure], scale, digits) for x in row["windows"]))
                for row in found
            ]
            filled = [(*row, *[number(None, 0)] * (len(longest) + 1 - len(row))) for row in rows]
            heads = ("system", *(x["label"] for x in longest))
            parts += [f"{heading}:\n", Table(heads, filled).markdown()]
    return "\n".join(parts)


def _cell(mean: dict[str, Any] | None, scale: float, digits: int) -> str:
    if mean is None:
        return number(None, 0)
    middle, low, high = (scale * mean[x] for x in ("mean", "low", "high"))
    return with_interval(middle, low, high, digits)
