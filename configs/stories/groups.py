"""Which synthesizers, accents and sexes the codec of the stories serves worse.

audiolm evaluate configs/stories/evaluate_codec_known.py
audiolm evaluate configs/stories/groups.py
"""

from pathlib import Path

from defaults import RUNS

from audiolm_jax.evaluation.groups.experiment import GroupsExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> GroupsExperiment:
    """All of its levels, and Opus at the same bitrate."""
    measured = load_experiment(Path(__file__).with_name("evaluate_codec_known.py"))
    return GroupsExperiment(
        directory=f"{RUNS}/groups",
        data=measured.data,
        reports=(("codec", measured.directory),),
        columns=("engine", "accent", "gender"),
        systems=("stories, 12 levels", "Opus 6 kbit/s"),
    )
