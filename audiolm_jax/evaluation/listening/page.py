"""The page that raters answer: one file, which says nothing of the key and loads nothing."""

from pathlib import Path

from audiolm_jax.audio.files import read_audio
from audiolm_jax.evaluation.listening.trials import ANSWERS, Key
from audiolm_jax.evaluation.page.palette import PALETTES
from audiolm_jax.evaluation.page.render import environment
from audiolm_jax.evaluation.page.sound import flac_data_uri

_QUESTIONS = {
    "real_or_continued": "The first {0:g} s are a recording. What follows them?",
    "pairs": "Both begin with the same {0:g} s of a recording. Which goes on better?",
}
_WORDS = {
    "recording": "The recording goes on",
    "model": "A model goes on",
    "A": "A goes on better",
    "B": "B goes on better",
}


def render(key: Key, directory: Path, title: str, prompt_seconds: float) -> str:
    """The page as text; the sounds of `directory` are in it."""
    trials = []
    for trial in key.trials:
        sounds = []
        for file in trial.files:
            samples, rate_hz = read_audio(directory / file)
            sounds.append(flac_data_uri(samples, rate_hz))
        trials.append({"number": trial.number, "sounds": sounds})
    return (
        environment()
        .get_template("rate.html.j2")
        .render(
            title=title,
            test=key.test,
            question=_QUESTIONS[key.kind].format(prompt_seconds),
            answers=[(name, _WORDS[name]) for name in ANSWERS[key.kind]],
            trials=trials,
            palettes=PALETTES,
        )
    )
