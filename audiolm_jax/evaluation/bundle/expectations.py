"""What the measured numbers allow to expect of the sound, in plain words.

Every sentence follows from a number that it names. What no number covers is called unmeasured, not
good or bad.
"""

from audiolm_jax.evaluation.measures.codec import CodecReport
from audiolm_jax.evaluation.measures.likelihood import StageLikelihood
from audiolm_jax.evaluation.measures.semantic import SemanticReport

PAPER_HOURS = 60_000  # Libri-Light unlab-60k (AudioLM section IV)

# Lower bounds of STOI and what to expect there. A rule of thumb from published listening tests
# on noisy speech; codec noise differs, so the page says that it is one.
_STOI_WORDS = (
    (0.90, "nearly every word of the round trip should be understood"),
    (0.75, "most words of the round trip should be understood, through audible damage"),
    (0.60, "some words of the round trip may be understood and many will not"),
    (
        -1.0,
        "the rhythm and pitch of speech may survive the round trip, but few words should be "
        "understood",
    ),
)


def duration_words(seconds: float) -> str:
    """A stretch of time as a reader would say it."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:,.0f} hours"


def about_size(train_seconds: float) -> str:
    """How little or much speech there was to learn from."""
    text = f"Everything here was trained from scratch on {duration_words(train_seconds)} of audio."
    hours = train_seconds / 3600
    if hours < PAPER_HOURS:
        factor = PAPER_HOURS / hours
        text += (
            f" The paper used {PAPER_HOURS:,} hours, {float(f'{factor:.2g}'):,.0f} times as much, "
            "and far larger models; its quality is not to be expected here."
        )
    return text


def about_codec(report: CodecReport) -> str:
    """How clear the codec's round trip is, and so the most that a continuation can be."""
    limit = (
        " Continuations come out of the same codec, so they cannot be clearer than the round trip."
    )
    if report.stoi is None:
        return (
            "No clip was long enough to estimate how intelligible the codec leaves speech; compare "
            "the round trips with the originals by ear." + limit
        )
    words = next(text for bound, text in _STOI_WORDS if report.stoi >= bound)
    return (
        f"The codec's round trip reaches a STOI of {report.stoi:.2f}, where 1 is as intelligible "
        f"as the original. By rule of thumb {words}." + limit
    )


def about_stage(report: StageLikelihood) -> str:
    """What a stage has learned, by its held-out loss against counting."""
    row = report.total
    name = report.stage
    below_unigram, below_bigram = row.percent_below_unigram, row.percent_below_bigram
    if not below_unigram > 0:
        return (
            f"The {name} stage predicts no better than knowing how frequent each token is "
            f"({row.model_nats:.2f} nats against {row.unigram_nats:.2f}): what it writes should "
            "sound like pieces in random order."
        )
    start = f"The {name} stage's held-out loss is {_percent(below_unigram)} below token frequencies"
    if below_bigram > 0:
        return (
            f"{start} and {_percent(below_bigram)} below a table of which token follows which: it "
            "uses more than the previous token."
        )
    return (
        f"{start}, but {_percent(-below_bigram)} above a table of which token follows which: "
        "nothing measured here says that it uses more than the previous token."
    )


def _percent(value: float) -> str:
    return f"{value:.1f}\N{NO-BREAK SPACE}%"


def about_semantic(report: SemanticReport) -> str:
    """How many sounds the semantic tokens tell apart."""
    return (
        f"The semantic tokens use {report.used_clusters} of {report.clusters} clusters, about as "
        f"many kinds as {report.perplexity:.0f} equally frequent ones."
    )


def about_the_unmeasured() -> str:
    """What no figure of the page speaks for."""
    return (
        "Nothing on this page measures whether a continuation holds real words, makes sense or "
        "keeps the speaker's voice. Judge that by ear, and take a single lucky word for luck."
    )


def expectations(
    train_seconds: float,
    codec: CodecReport | None,
    semantic: SemanticReport | None,
    stages: tuple[StageLikelihood, ...],
) -> tuple[str, ...]:
    """The sentences that the given measurements allow, one paragraph each."""
    return (
        about_size(train_seconds),
        *([about_codec(codec)] if codec else []),
        *([about_semantic(semantic)] if semantic else []),
        *(about_stage(stage) for stage in stages),
        about_the_unmeasured(),
    )
