"""AudioLM's codec for piano: 16 chips of TPU v4 (or v5p), not run.

audiolm plan configs/piano_paper/soundstream.py --topology v4:2x2x4
audiolm train configs/piano_paper/soundstream.py

3 levels of 2^14 codes at 50 Hz: 2.1 kbit/s; the coarse stage then predicts all three levels and
there is no fine stage. All else is configs/librilight_paper/soundstream.py, but for the revival of
codes: with 16,384 of them a step of 19,200 frames uses a code 1.2 times on average, so a code is
dead below a tenth of that, the share that the paper's 2 is there. AudioLM's 40,000 hours are not
public; name your own folder with --data.source.
"""

import dataclasses
from pathlib import Path

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> CodecExperiment:
    """C = 32, 3 levels of 16,384 codes at 50 Hz."""
    speech = load_experiment(Path(__file__).parents[1] / "librilight_paper" / "soundstream.py")
    quantizer = dataclasses.replace(
        speech.model.quantizer, levels=3, codebook_size=1 << 14, revival_threshold=0.12
    )
    return dataclasses.replace(
        speech,
        directory="runs/piano_paper/codec",
        data=AudioDataConfig(source="data/piano", dataset="piano", heldout_minutes=120.0),
        model=dataclasses.replace(speech.model, quantizer=quantizer),
    )
