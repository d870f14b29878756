"""AudioLM's codec for piano: 16 chips of TPU v4 (or v5p), not run.

audiolm plan configs/piano_paper/soundstream.py --topology v4:2x2x4
audiolm train configs/piano_paper/soundstream.py

3 levels of 2^14 codes at 50 Hz: 2.1 kbit/s; the coarse stage then predicts all three levels and
there is no fine stage. All else is configs/librilight_paper/soundstream.py, but for the revival of
codes: with 16,384 of them a step of 19,200 frames uses a code 1.2 times on average, so a code is
dead below a tenth of that, the share that the paper's 2 is there.
"""

import dataclasses

from defaults import CODES, DATA, LEVELS, RUNS, SPEECH

from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> CodecExperiment:
    """C = 32, 3 levels of 16,384 codes at 50 Hz."""
    speech = load_experiment(SPEECH / "soundstream.py")
    assert isinstance(speech, CodecExperiment)
    quantizer = dataclasses.replace(
        speech.model.quantizer, levels=LEVELS, codebook_size=CODES, revival_threshold=0.12
    )
    return dataclasses.replace(
        speech,
        directory=f"{RUNS}/codec",
        data=DATA,
        model=dataclasses.replace(speech.model, quantizer=quantizer),
    )
