"""Config files of tiny runs, the whole road from recordings to a bundle."""

from collections.abc import Sequence
from pathlib import Path

HEAD = """
from support.tiny_models import CODEC, DECODER, ENCODER, KMEANS, stage

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.experiments.tokens import TokenizeExperiment
from audiolm_jax.lm.config import StageModelConfig
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    DiscriminatorConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.tokenizers.semantic.w2v_bert.config import W2vBertTrainConfig
from audiolm_jax.training.config import LoopConfig

DATA = AudioDataConfig({data!r}, heldout_percent=20)
LOOP = LoopConfig({steps}, log_every=1, evaluate_every=2, checkpoint_every=2, tensorboard=False)
PARTS = {{"codec": "{runs}/codec", "semantic": "{runs}/kmeans"}}


def lm(name, seconds):
    return StageExperiment(
        directory=f"{runs}/{{name}}_lm", tokens="{runs}/tokens", **PARTS, loop=LOOP, batch_size=4,
        model=StageModelConfig(stage(name, seconds), DECODER),
    )


def experiment():
"""
BODIES = {
    "codec": """
    discriminators = DiscriminatorConfig(wave_scales=(),
                                         stft_width=2, stft_window=128, stft_hop=64)
    return CodecExperiment(
        directory="{runs}/codec", data=DATA, loop=LOOP, crop_seconds=0.4, batch_size=4,
        model=CODEC, train=SoundStreamTrainConfig(discriminators=discriminators),
    )
""",
    "encoder": """
    return EncoderExperiment(
        directory="{runs}/encoder", data=DATA, loop=LOOP, crop_seconds=1.0, batch_size=4,
        model=ENCODER, train=W2vBertTrainConfig(distractors=4),
    )
""",
    "kmeans": """
    return KmeansExperiment(
        directory="{runs}/kmeans", data=DATA, encoder="{runs}/encoder", kmeans=KMEANS,
    )
""",
    "tokens": """
    return TokenizeExperiment(
        directory="{runs}/tokens", data=DATA, **PARTS, tokenize=TokenizeConfig(shards=2),
    )
""",
    "semantic_lm": """
    return lm("semantic", 1.0)
""",
    "coarse_lm": """
    return lm("coarse", 1.0)
""",
    "fine_lm": """
    return lm("fine", 0.6)
""",
}
BUNDLED = ("codec", "kmeans", "semantic_lm", "coarse_lm", "fine_lm")


def write_configs(
    folder: Path,
    data: Path | str,
    steps: int = 2,
    names: Sequence[str] = tuple(BODIES),
    runs: str | None = None,
) -> dict[str, Path]:
    """Config files in `folder`, by name, of runs below `runs`, None: folder/runs, that read
    `data`."""
    places = {"data": str(data), "runs": runs or str(folder / "runs"), "steps": steps}
    paths = {name: folder / f"{name}.py" for name in names}
    for name, path in paths.items():
        path.write_text(HEAD.format(**places) + BODIES[name].replace("{runs}", places["runs"]))
    return paths
