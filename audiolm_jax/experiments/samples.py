"""Sounds to listen to while a model trains: what it makes of held-out audio at each evaluation."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.experiment import CodecExperiment, StageExperiment
from audiolm_jax.experiments.inputs import fingerprint_of
from audiolm_jax.experiments.programs import program_of
from audiolm_jax.generation.bundle import StageModel, load_bundle
from audiolm_jax.generation.pipeline import GenerationConfig, Generator
from audiolm_jax.training.mesh import gather, make_mesh, replicated, to_global
from audiolm_jax.training.metrics import MetricsWriter
from audiolm_jax.training.state import TrainState
from audiolm_jax.types import AcousticTokens

OnEvaluate = Callable[[int, TrainState, MetricsWriter], None]

_PROMPT_SECONDS = 3.0
_CONTINUATION_SECONDS = 4.0
_SEED = 0


def codec_samples(experiment: CodecExperiment, heldout: AudioCrops) -> OnEvaluate:
    """The first held-out crops after the codec, and once as they were recorded."""
    from audiolm_jax.tokenizers.acoustic.soundstream.train import roundtrip

    mesh = make_mesh(experiment.mesh)
    batch = next(heldout.heldout_batches())
    hear = jax.jit(roundtrip(experiment.model, experiment.train), out_shardings=replicated(mesh))
    rate = experiment.model.sample_rate_hz
    originals_written = False

    def on_evaluate(step: int, state: TrainState, writer: MetricsWriter) -> None:
        nonlocal originals_written
        placed = to_global(batch, mesh)
        heard, recorded, lengths = jax.device_get(
            (hear(state, placed), *gather((placed.samples, placed.lengths)))
        )
        for row in range(experiment.samples):
            if size := int(lengths[row]):
                sound = np.clip(heard[row, :size], -1, 1)
                writer.write_audio(step, f"codec_{row}", sound, rate)
                if not originals_written:
                    writer.write_audio(0, f"recorded_{row}", recorded[row, :size], rate)
        originals_written = True

    return on_evaluate


def stage_samples(experiment: StageExperiment, store: TokenStore) -> OnEvaluate:
    """A held-out recording, as the codec gives it back, continued with the stage being trained.

    Raises:
      InputError: the bundle has another codec, or another stage of that name.
    """
    bundle = load_bundle(Path(experiment.sample_bundle))
    stage = experiment.model.stage
    where = f"sample_bundle = {experiment.sample_bundle}"
    if bundle.parts["codec"] != fingerprint_of(experiment.codec):
        raise InputError(f"{where}: its codec is not codec = {experiment.codec}; take that one's")
    if stage.name not in bundle.stages or bundle.stages[stage.name].config.stage != stage:
        raise InputError(
            f"{where}: holds no {stage.name} stage with the tokens and windows of model.stage"
        )
    program = program_of(experiment)
    frames = round(_PROMPT_SECONDS * stage.acoustic_rate_hz)
    codes = store.record("heldout", 0).codes[None, :frames].astype(np.int32)
    spoken = bundle.codec.decode(AcousticTokens(codes, np.array([codes.shape[1]], np.int32)))
    prompt = np.asarray(spoken.samples)[0]

    def on_evaluate(step: int, state: TrainState, writer: MetricsWriter) -> None:
        arrays = program.export(gather(dataclasses.replace(state, opt_state=())))
        folder = dataclasses.replace(bundle.stages[stage.name].folder, arrays=arrays)
        stages = bundle.stages | {stage.name: StageModel(experiment.model, folder)}
        context = min(_PROMPT_SECONDS, bundle.stages["coarse"].config.stage.crop_seconds / 2)
        generator = Generator(
            dataclasses.replace(bundle, stages=stages), GenerationConfig(context_seconds=context)
        )
        (made,) = generator.continue_audio([prompt], _CONTINUATION_SECONDS, [_SEED])
        writer.write_audio(step, "continuation", made.samples, generator.sample_rate_hz)

    return on_evaluate
