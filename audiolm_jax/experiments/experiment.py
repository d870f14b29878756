"""One frozen dataclass for each kind of run, and the file that describes it.

A config file is Python with a function `experiment()` that returns one of these. Any field can be
overridden on the command line. What can be checked without touching data or models is checked when
the dataclass is made.
"""

import dataclasses
import runpy
from pathlib import Path

from audiolm_jax.data.noise import NoiseConfig
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tokens.tokenize import TokenizeConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.experiment import AbxExperiment
from audiolm_jax.evaluation.bundle.experiment import EvaluateExperiment
from audiolm_jax.evaluation.codecs.experiment import CodecEvaluateExperiment
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment
from audiolm_jax.lm.decoder import StageModelConfig
from audiolm_jax.lm.train import StageTrainConfig
from audiolm_jax.tokenizers.acoustic.soundstream.model import SoundStreamConfig
from audiolm_jax.tokenizers.acoustic.soundstream.train import SoundStreamTrainConfig
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.tokenizers.semantic.w2v_bert.model import W2vBertConfig
from audiolm_jax.tokenizers.semantic.w2v_bert.train import W2vBertTrainConfig
from audiolm_jax.tokenizers.semantic.windows import WindowConfig
from audiolm_jax.training.loop_config import LoopConfig
from audiolm_jax.training.mesh import MeshConfig
from audiolm_jax.training.optim import OptimizerConfig
from audiolm_jax.training.warm_start import WarmStartConfig


@dataclasses.dataclass(frozen=True)
class CodecExperiment:
    """Train SoundStream.

    Attributes:
      directory: run directory.
      data: recordings.
      crop_seconds: length of a training crop.
      batch_size: crops in a step, over all devices.
      model: encoder, quantiser and decoder.
      train: losses, discriminators and codebook updates.
      optimizer: of encoder and decoder.
      discriminator_optimizer: of the discriminators.
      loop: steps, seed, checkpoints, metrics.
      mesh: devices and sharding.
      warm_start: the weights to start from in place of random ones; None draws them.
      samples: held-out recordings whose way through the codec is written at each evaluation, as
        wav files in the folder `samples` and to TensorBoard.
      noise: what a codec with `model.denoising` learns to remove; the others have none.
    """

    directory: str
    data: AudioDataConfig
    loop: LoopConfig
    crop_seconds: float = 1.0
    batch_size: int = 32
    model: SoundStreamConfig = SoundStreamConfig()
    train: SoundStreamTrainConfig = SoundStreamTrainConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    discriminator_optimizer: OptimizerConfig = OptimizerConfig()
    mesh: MeshConfig = MeshConfig()
    warm_start: WarmStartConfig | None = None
    samples: int = 0
    noise: NoiseConfig | None = None

    def __post_init__(self) -> None:
        _check_batch(self.batch_size)
        _check_rates("model.sample_rate_hz", self.model.sample_rate_hz, self.data)
        if (self.noise is None) != (self.model.denoising is None):
            lacks = "noise" if self.noise is None else "model.denoising"
            raise InputError(f"{lacks} = None: denoising needs both noise and model.denoising")
        if self.noise is not None:
            _check_rates("noise: model.sample_rate_hz", self.model.sample_rate_hz, self.noise.data)
        if not 0 <= self.samples <= self.batch_size:
            raise InputError(
                f"samples = {self.samples}: expected 0 to batch_size = {self.batch_size}"
            )


@dataclasses.dataclass(frozen=True)
class EncoderExperiment:
    """Train w2v-BERT.

    Attributes:
      directory: run directory.
      data: recordings.
      crop_seconds: length of a training crop.
      batch_size: crops in a step, over all devices.
      model: the conformers and their input.
      train: masks and losses.
      optimizer: of all parameters.
      loop: steps, seed, checkpoints, metrics.
      mesh: devices and sharding.
      warm_start: the weights to start from in place of random ones; None draws them.
    """

    directory: str
    data: AudioDataConfig
    loop: LoopConfig
    crop_seconds: float = 4.0
    batch_size: int = 32
    model: W2vBertConfig = W2vBertConfig()
    train: W2vBertTrainConfig = W2vBertTrainConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    mesh: MeshConfig = MeshConfig()
    warm_start: WarmStartConfig | None = None

    def __post_init__(self) -> None:
        _check_batch(self.batch_size)


@dataclasses.dataclass(frozen=True)
class KmeansExperiment:
    """Fit k-means on features of an encoder: the result is the semantic tokenizer.

    Attributes:
      directory: run directory.
      data: recordings; its training clips are used.
      encoder: run directory of the trained encoder, or model folder of a trained or imported one.
      batch_size: clips loaded together.
      kmeans: layer, clusters, frames, iterations, seed.
      window: how long recordings are cut, here and by the tokenizer.
      mesh: devices that share the frames; the parameters of its presets are never sharded here.
    """

    directory: str
    data: AudioDataConfig
    encoder: str
    batch_size: int = 8
    kmeans: KmeansConfig = KmeansConfig()
    window: WindowConfig = WindowConfig()
    mesh: MeshConfig = MeshConfig()

    def __post_init__(self) -> None:
        _check_batch(self.batch_size)
        self.kmeans.check_frames()


@dataclasses.dataclass(frozen=True)
class TokenizeExperiment:
    """Turn recordings into a store of acoustic and semantic tokens.

    Attributes:
      directory: folder of the token store.
      data: recordings.
      codec: run directory or model folder of the acoustic tokenizer.
      semantic: run directory or model folder of the semantic tokenizer.
      tokenize: shards and batches.
    """

    directory: str
    data: AudioDataConfig
    codec: str
    semantic: str
    tokenize: TokenizeConfig = TokenizeConfig()


@dataclasses.dataclass(frozen=True)
class StageExperiment:
    """Train the language model of one stage.

    Attributes:
      directory: run directory.
      tokens: token store.
      codec: run directory or model folder that the store's acoustic tokens must come from.
      semantic: run directory or model folder that the store's semantic tokens must come from.
      batch_size: crops in a step, over all devices.
      model: the stage's tokens and its decoder.
      train: losses.
      optimizer: of all parameters.
      loop: steps, seed, checkpoints, metrics.
      mesh: devices and sharding.
      warm_start: the weights to start from in place of random ones; None draws them.
      sample_bundle: a bundle with which to continue a held-out recording at each evaluation,
        this stage's model taking the place of the bundle's; None writes no sound.
    """

    directory: str
    tokens: str
    codec: str
    semantic: str
    loop: LoopConfig
    model: StageModelConfig
    batch_size: int = 256
    train: StageTrainConfig = StageTrainConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    mesh: MeshConfig = MeshConfig()
    warm_start: WarmStartConfig | None = None
    sample_bundle: str | None = None

    def __post_init__(self) -> None:
        _check_batch(self.batch_size)


TRAINED = (CodecExperiment, EncoderExperiment, KmeansExperiment, StageExperiment)
Experiment = (
    CodecExperiment
    | EncoderExperiment
    | KmeansExperiment
    | TokenizeExperiment
    | StageExperiment
    | EvaluateExperiment
    | AbxExperiment
    | SweepExperiment
    | CodecEvaluateExperiment
)


def load_experiment(path: Path) -> Experiment:
    """Runs a config file and returns what its `experiment()` describes.

    Raises:
      InputError: no such file, an error in it, or no experiment in it.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such config file; see the folder configs/")
    try:
        names = runpy.run_path(str(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:
        raise InputError(f"{path}: {type(error).__name__}: {error}") from error
    if not callable(names.get("experiment")):
        raise InputError(f"{path}: no function experiment(); a config file must define one")
    try:
        experiment = names["experiment"]()
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except TypeError as error:  # an unknown or missing field of a dataclass
        raise InputError(f"{path}: {error}") from error
    if not isinstance(experiment, Experiment):
        raise InputError(
            f"{path}: experiment() returned {type(experiment).__name__}, expected one of "
            f"{', '.join(cls.__name__ for cls in Experiment.__args__)}"
        )
    return experiment


def _check_batch(batch_size: int) -> None:
    if batch_size < 1:
        raise InputError(f"batch_size = {batch_size}: expected 1 or more")


def _check_rates(field: str, rate_hz: int, data: AudioDataConfig) -> None:
    if rate_hz != data.sample_rate_hz:
        raise InputError(
            f"{field} = {rate_hz} differs from data.sample_rate_hz = {data.sample_rate_hz}; "
            "make them equal"
        )
