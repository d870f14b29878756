"""Rows of the paper's tables, by where the tasks of this package keep their figures.

`paper` is the paper's own figure everywhere, "" where it has none.
"""

from audiolm_jax.evaluation.paper.experiment import Row

_TOKENS = {
    "units": "units, 1 level",
    "residual levels, 6 kbit/s": "residual, 24 levels",
    "codec, 2 kbit/s": "codec, 4 levels",
    "codec, 6 kbit/s": "codec, 12 levels",
}
_SYSTEMS = ("real recording", "codec round trip", "revoiced")


def percent(table: str, what: str, paper: str, task: str, figure: str) -> Row:
    """A share as percent."""
    return Row(table, f"{what}, %", paper, task, figure, scale=100.0)


def abx_errors(
    what: str, features: str, within: str, across: str, task: str = "abx"
) -> tuple[Row, ...]:
    """ABX errors of the features that are a row of the task's table."""
    return tuple(
        percent("Table I", f"ABX {mode}, {what}", paper, task, f"{_abx(features)} / {mode} / error")
        for mode, paper in (("within", within), ("across", across))
    )


def token_quality(*papers: str) -> tuple[Row, ...]:
    """ViSQOL of decoders of semantic units, of residual levels and of the codec at 2 and 6 kbit/s,
    by the task "evaluate_tokens"."""
    return tuple(
        Row(
            "Table I",
            f"ViSQOL, {what}",
            paper,
            "evaluate_tokens",
            f"rows / {label} / means / visqol",
            2,
        )
        for (what, label), paper in zip(_TOKENS.items(), papers, strict=True)
    )


def word_errors(table: str, measure: str, band: str | None, *papers: str) -> tuple[Row, ...]:
    """WER or CER ("wer", "cer") of recordings, codec and revoiced, by the task "world".

    `band` is a band of lengths, such as "4 to 10 s", None all whole recordings.
    """
    place = "readings" if band is None else f"bands / {band} / rows"
    return tuple(
        Row(
            table,
            f"{measure.upper()}, {system}, {band or 'all'}, %",
            paper,
            "world",
            f"{place} / {system} / means / {measure}",
        )
        for system, paper in zip(_SYSTEMS, papers, strict=True)
    )


def speaker_accuracy(what: str, paper: str, place: str) -> Row:
    """How often the speaker classifier is right, by the task "evaluate_speakers"."""
    return percent("Table III", what, paper, "evaluate_speakers", f"{place} / accuracy")


def speaker_drift(system: str, second: int) -> Row:
    """The classifier's accuracy in one second of what follows the prompts."""
    window = f"{second} to {second + 1} s"
    place = f"endings / {system} / windows / {window} / accuracy"
    return percent("Voice along a continuation", window, "", "evaluate_speakers", place)


def minimal_pairs(what: str, paper: str, kind: str, task: str = "pairs") -> Row:
    """Accuracy on pairs of a kind, by sums of log-probabilities."""
    return percent("Table IV", what, paper, task, f"rows / {kind} / accuracies / model, sum")


def _abx(features: str) -> str:
    return f"rows / {features} / scores / corrected"
