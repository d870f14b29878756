"""What an experiment trains, as functions and shapes: no data, models or devices are touched."""

import dataclasses
from typing import Any

import jax
import numpy as np

from audiolm_jax.data.crops import whole_samples
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.experiment import (
    CodecExperiment,
    EncoderExperiment,
    Experiment,
    StageExperiment,
)
from audiolm_jax.lm.flops import model_flops as stage_flops
from audiolm_jax.training.flops import count_flops
from audiolm_jax.training.optim import make_optimizer
from audiolm_jax.training.state import TrainProgram
from audiolm_jax.types import AudioBatch, DenoisingBatch, TokenBatch

Trainer = CodecExperiment | EncoderExperiment | StageExperiment


def program_of(experiment: Trainer) -> TrainProgram:
    """The functions that train what the experiment describes.

    Raises:
      InputError: the experiment has no training step.
    """
    match experiment:
        case CodecExperiment():
            from audiolm_jax.tokenizers.acoustic.soundstream import train

            return train.program(
                experiment.model,
                experiment.train,
                make_optimizer(experiment.optimizer),
                make_optimizer(experiment.discriminator_optimizer),
            )
        case EncoderExperiment():
            from audiolm_jax.tokenizers.semantic.w2v_bert import train
        case StageExperiment():
            from audiolm_jax.lm import train
        case _:
            raise _no_step(experiment)
    return train.program(experiment.model, experiment.train, make_optimizer(experiment.optimizer))


def abstract_batch(experiment: Trainer) -> AudioBatch | DenoisingBatch | TokenBatch:
    """The batch of one step, over all devices, as `jax.ShapeDtypeStruct`s.

    Raises:
      InputError: the experiment has no training step, or its crop is no whole number of samples.
    """
    rows = experiment.batch_size
    if isinstance(experiment, StageExperiment):
        shape = (rows, experiment.model.stage.max_tokens - 1)
        ids, weights = (jax.ShapeDtypeStruct(shape, dtype) for dtype in (np.int32, np.float32))
        return TokenBatch(inputs=ids, targets=ids, loss_weights=weights, levels=ids)
    if isinstance(experiment, CodecExperiment | EncoderExperiment):
        size = whole_samples(experiment.crop_seconds, experiment.data.sample_rate_hz)
        samples = jax.ShapeDtypeStruct((rows, size), np.float32)
        audio = AudioBatch(samples, jax.ShapeDtypeStruct((rows,), np.int32))
        if isinstance(experiment, CodecExperiment) and experiment.noise is not None:
            return DenoisingBatch(audio, samples, jax.ShapeDtypeStruct((rows,), np.bool_))
        return audio
    raise _no_step(experiment)


def units_per_step(experiment: Trainer) -> tuple[str, float]:
    """What a step learns from: ("tokens", how many) or ("audio_seconds", how many)."""
    if isinstance(experiment, StageExperiment):
        return "tokens", float(np.prod(abstract_batch(experiment).inputs.shape))
    if isinstance(experiment, CodecExperiment | EncoderExperiment):
        return "audio_seconds", experiment.batch_size * experiment.crop_seconds
    raise _no_step(experiment)


def model_flops(experiment: Trainer) -> float:
    """Operations of the matrix products and convolutions that one step needs, over all devices.

    For a stage see `lm.flops.model_flops`. For codec and encoder they are counted in the step
    itself, without rematerialisation and with every conditional at its dearest branch, but without
    k-means, which only the very first step runs, and without zeros between joined groups.
    """
    first_step_alone = 0.0
    match experiment:
        case StageExperiment():
            return stage_flops(experiment.model, experiment.batch_size)
        case EncoderExperiment():
            conformer = dataclasses.replace(experiment.model.conformer, remat="none")
            model = dataclasses.replace(experiment.model, conformer=conformer)
            experiment = dataclasses.replace(experiment, model=model)
        case CodecExperiment():
            judges = experiment.train.discriminators
            judges = dataclasses.replace(judges, grouped_convolution="grouped")
            train = dataclasses.replace(experiment.train, discriminators=judges)
            experiment = dataclasses.replace(experiment, train=train)
            first_step_alone = _kmeans_flops(experiment)
    program = program_of(experiment)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(program.init, key)
    return count_flops(program.step, state, abstract_batch(experiment), key) - first_step_alone


def _kmeans_flops(experiment: CodecExperiment) -> float:
    from audiolm_jax.tokenizers.acoustic.soundstream.rvq import (
        empty_codebooks,
        initialize_codebooks,
    )

    model = experiment.model
    samples = whole_samples(experiment.crop_seconds, model.sample_rate_hz)

    def run(codebooks: Any, latents: Any) -> Any:
        mask = np.ones(latents.shape[:2], bool)
        return initialize_codebooks(codebooks, latents, mask, jax.random.key(0), model.quantizer)

    codebooks = jax.eval_shape(lambda: empty_codebooks(model.quantizer, model.embedding_width))
    shape = (experiment.batch_size, -(-samples // model.hop_samples), model.embedding_width)
    return count_flops(run, codebooks, jax.ShapeDtypeStruct(shape, np.float32))


def _no_step(experiment: Experiment) -> InputError:
    return InputError(
        f"{type(experiment).__name__}: has no training step; expected the config of a codec, an "
        "encoder or a stage"
    )
