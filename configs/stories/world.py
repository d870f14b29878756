"""Judge the words of the bundle on synthetic stories of speakers that training never heard.

unzip models/stories.zip -d models
audiolm evaluate configs/stories/world.py --asr.model WHISPER_FOLDER

Needs the extra `world-eval`, the folder of a Whisper model (docs/guide/world.md) and the token
store of tokens.py, from which the bigram model is counted. `--bundle None --tokens None` judges
the recordings alone.
"""

from defaults import BUNDLE, RUNS

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.evaluation.measures.recognition import AsrConfig
from audiolm_jax.evaluation.world.experiment import WorldExperiment


def experiment() -> WorldExperiment:
    """100 prompts of 3 s, continued by 7 s; 30 stories revoiced, also in bands of length."""
    return WorldExperiment(
        directory=f"{RUNS}/world",
        title="What the stories' models say",
        data=AudioDataConfig("data/stories/heldout_both", "stories_of_others"),
        others=AudioDataConfig("data/stories/heldout_stories", "stories_held_out"),
        world="data/stories/world",
        asr=AsrConfig("data/whisper"),
        bundle=BUNDLE,
        tokens=f"{RUNS}/tokens",
        bands=((4.0, 10.0), (10.0, 20.0), (20.0, 30.0)),
        licence=(
            "Synthetic speech of ./launch/stories.sh: hibari-tts (Apache-2.0) and Flite (a free "
            "licence in the manner of BSD)."
        ),
    )
