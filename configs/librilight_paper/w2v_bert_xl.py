"""w2v-BERT XL as in the paper: 64 chips of TPU v4 (or v5p), not run.

audiolm plan configs/librilight_paper/w2v_bert_xl.py --topology v4:4x4x4
audiolm train configs/librilight_paper/w2v_bert_xl.py

0.6 B parameters, 12 contrastive and 12 masked-prediction conformers. Adam with the transformer's
schedule, 25,000 steps of warm-up, batches of 2048 and 400,000 steps are the paper's (Chung et al.
2021); it names no length of a crop. Span masks, losses and their weights are the paper's, too;
temperatures and distractors are wav2vec 2.0's (docs/reference/deviations.md lists what differs).
AudioLM takes layer masked_7 and 1024 clusters.
"""

from defaults import DATA, loop

from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.tokenizers.semantic.w2v_bert.config import (
    ConformerConfig,
    W2vBertConfig,
    W2vBertTrainConfig,
)
from audiolm_jax.training.config import MeshConfig, OptimizerConfig


def experiment() -> EncoderExperiment:
    """Crops of 16 s, 24 conformers of width 1024, batch 2048."""
    return EncoderExperiment(
        directory="runs/librilight_paper/encoder",
        data=DATA,
        crop_seconds=16.0,
        batch_size=2048,
        model=W2vBertConfig(
            contrastive_layers=12,
            masked_layers=12,
            codebook_size=1024,
            code_width=1024,
            conformer=ConformerConfig(
                width=1024,
                heads=8,
                ff_width=4096,
                conv_kernel=5,
                compute_dtype="bfloat16",
                remat="full",
            ),
        ),
        train=W2vBertTrainConfig(),
        optimizer=OptimizerConfig(
            learning_rate=2e-3, warmup_steps=25_000, schedule="rsqrt", clip_norm=None
        ),
        loop=loop(400_000),
        mesh=MeshConfig(preset="fsdp"),
    )
