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
from audiolm_jax.evaluation.codecs.comparison import ORIGINAL
from audiolm_jax.evaluation.codecs.opus import HIGHEST_KBPS, LOWEST_KBPS
from audiolm_jax.evaluation.codecs.systems import OPUS
from audiolm_jax.evaluation.measures.quality import (
    METRICS,
    RATE_HZ,
    SHORTEST_SECONDS,
    VisqolMapping,
)
from audiolm_jax.evaluation.measures.recognition import AsrConfig
from audiolm_jax.evaluation.page.plots import CURVES
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment
from audiolm_jax.generation.pipeline import GenerationConfig
from audiolm_jax.lm.decoder import StageModelConfig
from audiolm_jax.lm.train import StageTrainConfig
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
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


@dataclasses.dataclass(frozen=True)
class EvaluateExperiment:
    """Measure all parts on held-out audio and write the report page.

    Attributes:
      directory: where report.html, report.json and the generated wav files go.
      title: heading of the page.
      data: recordings; only held-out clips are continued and measured.
      bundle: the models.
      tokens: token store the language models were trained on.
      runs: run directories whose loss curves and speed are shown.
      prompts: how many held-out clips are continued, the longest first.
      prompt_seconds: beginning of each clip that the models hear.
      continuation_seconds: what they go on for.
      seeds: one continuation of each prompt for each seed.
      generation: temperatures and windows.
      licence: licence and attribution of the recordings, shown on the page.
    """

    directory: str
    title: str
    data: AudioDataConfig
    bundle: str
    tokens: str
    runs: tuple[str, ...]
    prompts: int = 4
    prompt_seconds: float = 3.0
    continuation_seconds: float = 4.0
    seeds: tuple[int, ...] = (0,)
    generation: GenerationConfig = GenerationConfig()
    licence: str = ""

    def __post_init__(self) -> None:
        if self.prompts < 1 or not self.seeds:
            raise InputError(
                f"prompts = {self.prompts}, seeds = {self.seeds}: expected at least one of each"
            )
        for name in ("prompt_seconds", "continuation_seconds"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} = {getattr(self, name)}: expected more than 0")


@dataclasses.dataclass(frozen=True)
class CodecEvaluateExperiment:
    """Measure codecs beside Opus on held-out audio and write a table, figures and a page.

    Attributes:
      directory: where report.json, table.md, report.html and the figures go.
      title: heading of the page.
      data: recordings at 16 kHz; only held-out clips are used.
      codecs: (label, run directory or model folder) of each codec.
      levels: numbers of levels to decode; those beyond a codec's own are left out, and all of its
        levels are always measured.
      opus_kbps: nominal bitrates of Opus, 6 to 510; empty for no Opus.
      min_clip_seconds: shorter clips are left out, at least 1.
      max_clip_seconds: longer clips are left out.
      max_clips: no more than so many, chosen by hash.
      visqol_mapping: from similarity to score, "polynomial" or "lattice"; see `quality.visqol`.
      required: metrics that must be measured; without it a metric whose package is missing is
        shown as not measured.
      asr: recogniser for WER and CER.
      examples: clips to listen to on the page.
      runs: run directories whose loss curves are shown.
      seed: of the bootstrap.
      licence: licence and attribution of the recordings, shown on the page.
    """

    directory: str
    title: str
    data: AudioDataConfig
    codecs: tuple[tuple[str, str], ...]
    levels: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12)
    opus_kbps: tuple[float, ...] = (6.0, 8.0, 12.0, 24.0)
    min_clip_seconds: float = 3.0
    max_clip_seconds: float = 10.0
    max_clips: int = 60
    visqol_mapping: VisqolMapping = "polynomial"
    required: tuple[str, ...] = ()
    asr: AsrConfig = AsrConfig()
    examples: int = 4
    runs: tuple[str, ...] = ()
    seed: int = 0
    licence: str = ""

    def __post_init__(self) -> None:
        if self.data.sample_rate_hz != RATE_HZ:
            raise InputError(
                f"data.sample_rate_hz = {self.data.sample_rate_hz}: expected {RATE_HZ}, the rate "
                "of wideband PESQ and ViSQOL's speech mode; codecs of other rates are converted"
            )
        labels = [label for label, _ in self.codecs]
        if len(labels) > CURVES - 2:
            raise InputError(
                f"codecs = {labels}: expected at most {CURVES - 2}, a figure also shows Opus and "
                "the original"
            )
        if not labels or len({*labels, OPUS, ORIGINAL}) < len(labels) + 2:
            raise InputError(
                f"codecs = {labels}: expected at least one, each under a label of its own other "
                f"than {OPUS!r} and {ORIGINAL!r}"
            )
        if not self.levels or min(self.levels) < 1:
            raise InputError(f"levels = {self.levels}: expected numbers from 1 on")
        for kbps in self.opus_kbps:
            if not LOWEST_KBPS <= kbps <= HIGHEST_KBPS:
                raise InputError(
                    f"opus_kbps holds {kbps:g}: expected {LOWEST_KBPS:g} to {HIGHEST_KBPS:g}"
                )
        if not SHORTEST_SECONDS <= self.min_clip_seconds < self.max_clip_seconds:
            raise InputError(
                f"min_clip_seconds = {self.min_clip_seconds}, max_clip_seconds = "
                f"{self.max_clip_seconds}: expected {SHORTEST_SECONDS:g} or more, and more"
            )
        if self.max_clips < 1 or self.examples < 0:
            raise InputError(
                f"max_clips = {self.max_clips}, examples = {self.examples}: expected at least 1 "
                "and 0"
            )
        known = [metric.name for metric in METRICS]
        if unknown := [name for name in self.required if name not in known]:
            raise InputError(f"required holds {unknown[0]!r}: expected {', '.join(known)}")
        if self.asr.model is None and {"wer", "cer"} & set(self.required):
            raise InputError(
                "required holds wer or cer, but asr.model is None: name a Whisper folder"
            )


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
