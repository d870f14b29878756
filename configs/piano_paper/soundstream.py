"""AudioLM's codec for piano: 16 chips of TPU v4 (or v5p), not run.

audiolm plan configs/piano_paper/soundstream.py --topology v4:2x2x4
audiolm train configs/piano_paper/soundstream.py

3 levels of 2^14 codes at 50 Hz: 2.1 kbit/s; the coarse stage then predicts all three levels and
there is no fine stage. All else as in configs/librilight_paper/soundstream.py, see there, but for
the revival of codes: with 16,384 of them a step of 19,200 frames uses a code 1.2 times on average,
so a code is dead below a tenth of that, the share that the paper's 2 is there. AudioLM's 40,000
hours are not public; name your own folder with --data.audio-dir.
"""

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiment import CodecExperiment
from audiolm_jax.runtime.loop import LoopConfig
from audiolm_jax.runtime.mesh import MeshConfig
from audiolm_jax.runtime.optim import OptimizerConfig
from audiolm_jax.tokenizers.soundstream.model import SoundStreamConfig
from audiolm_jax.tokenizers.soundstream.rvq import QuantizerConfig
from audiolm_jax.tokenizers.soundstream.train import SoundStreamTrainConfig

_OPTIMIZER = OptimizerConfig(learning_rate=3e-4, warmup_steps=0, b1=0.5, b2=0.9, clip_norm=None)


def experiment() -> CodecExperiment:
    """C = 32, 3 levels of 16,384 codes at 50 Hz."""
    return CodecExperiment(
        directory="runs/piano_paper/codec",
        data=AudioDataConfig(audio_dir="data/piano", dataset="piano"),
        crop_seconds=3.0,
        batch_size=128,
        model=SoundStreamConfig(
            channels=32,
            quantizer=QuantizerConfig(
                levels=3, codebook_size=1 << 14, decay=0.99, revival_threshold=0.12
            ),
        ),
        train=SoundStreamTrainConfig(quantizer_dropout=1.0),
        optimizer=_OPTIMIZER,
        discriminator_optimizer=_OPTIMIZER,
        loop=LoopConfig(
            steps=600_000,
            log_every=100,
            evaluate_every=10_000,
            checkpoint_every=1_000,
            keep_checkpoints=3,
        ),
        mesh=MeshConfig(preset="dp"),
    )
