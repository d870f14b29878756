"""w2v-BERT, small: about 3 minutes on 2 CPU cores.

audiolm train configs/demo/encoder.py
"""

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiment import EncoderExperiment
from audiolm_jax.runtime.loop import LoopConfig
from audiolm_jax.runtime.optim import OptimizerConfig
from audiolm_jax.tokenizers.w2v_bert.conformer import ConformerConfig
from audiolm_jax.tokenizers.w2v_bert.model import W2vBertConfig

STEPS = 400


def experiment() -> EncoderExperiment:
    """2 + 2 conformers of width 144."""
    return EncoderExperiment(
        directory="runs/demo/encoder",
        data=AudioDataConfig(audio_dir="data/asterisk", dataset="asterisk_en"),
        crop_seconds=4.0,
        batch_size=8,
        model=W2vBertConfig(
            subsample_channels=32,
            contrastive_layers=2,
            masked_layers=2,
            codebook_size=128,
            code_width=64,
            conformer=ConformerConfig(width=144, heads=4, ff_width=576, remat="none"),
        ),
        optimizer=OptimizerConfig(
            learning_rate=1e-3, warmup_steps=50, schedule="cosine", total_steps=STEPS
        ),
        loop=LoopConfig(steps=STEPS, log_every=20, evaluate_every=STEPS // 4, checkpoint_every=100),
    )
