"""What an experiment trains, against the data that it really gets."""

import dataclasses

import jax
import numpy as np
import pytest
from support.tiny_models import CODEC, DECODER, ENCODER, stage, voice

from audiolm_jax.audio.files import write_wav
from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.index import scan
from audiolm_jax.data.noise import NoisyCrops
from audiolm_jax.data.sources import AudioDataConfig, NoiseConfig
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm import flops
from audiolm_jax.lm.config import StageModelConfig
from audiolm_jax.nn.conv import initialize
from audiolm_jax.stages import FIRST_ID
from audiolm_jax.tokenizers.acoustic.soundstream.config import DenoisingConfig
from audiolm_jax.tokenizers.acoustic.soundstream.discriminators import Discriminators
from audiolm_jax.tokenizers.acoustic.soundstream.model import build_generator
from audiolm_jax.training.config import LoopConfig, MeshConfig
from audiolm_jax.training.flops import count_flops
from audiolm_jax.training.mesh import make_mesh, rules_of, state_shardings, use_mesh
from audiolm_jax.training.step import make_init
from audiolm_jax.types import TokenBatch

LOOP = LoopConfig(steps=1)


def audio_experiment(kind, model, directory, **fields):
    data = AudioDataConfig(str(directory), heldout_percent=0)
    sizes = {"crop_seconds": 0.5, "batch_size": 4}
    return kind(directory="run", data=data, loop=LOOP, **sizes, model=model, **fields)


def stage_experiment(name):
    return StageExperiment(
        directory="run",
        tokens="tokens",
        codec="codec",
        semantic="semantic",
        loop=LOOP,
        model=StageModelConfig(stage(name), DECODER),
        batch_size=2,
    )


def shapes(batch):
    return jax.tree.map(lambda x: (np.shape(x), np.dtype(x.dtype)), batch)


@pytest.mark.parametrize(
    ("kind", "model"), [(CodecExperiment, CODEC), (EncoderExperiment, ENCODER)]
)
def test_audio_batch_is_that_of_the_crops(tmp_path, kind, model):
    for number in range(3):
        write_wav(tmp_path / f"{number}.wav", voice(1.0, 100 + number), 16000, None)
    experiment = audio_experiment(kind, model, tmp_path)
    crops = AudioCrops(scan(experiment.data), "train", 0.5, 4, seed=0)
    assert shapes(experiment.abstract_batch()) == shapes(next(crops.batches(0)))
    assert experiment.units_per_step() == ("audio_seconds", 2.0)


def test_speed_stretches_what_is_trained_on_alone(tmp_path):
    for number in range(8):
        write_wav(tmp_path / f"{number}.wav", voice(2.0, 100 + number), 16000, None)
    plain = audio_experiment(CodecExperiment, CODEC, tmp_path)
    plain = dataclasses.replace(plain, data=dataclasses.replace(plain.data, heldout_percent=50))
    fast = dataclasses.replace(plain, speed=1.5)
    crops = AudioCrops(scan(fast.data), "train", 0.5, 4, seed=0, speed=1.5)
    data, usual = fast.open_data(), plain.open_data()
    first, last = next(data.batches(0)).samples, next(data.heldout()).samples
    np.testing.assert_array_equal(first, next(crops.batches(0)).samples)
    assert not np.array_equal(first, next(usual.batches(0)).samples)
    np.testing.assert_array_equal(last, next(usual.heldout()).samples)
    assert data.describe(3) == crops.describe(3) != usual.describe(3)
    for speed in (0.9, 2.1):
        with pytest.raises(InputError, match=r"--speed .*: expected 1 to 2"):
            dataclasses.replace(plain, speed=speed)


def test_noise_and_the_switch_come_together(tmp_path):
    data = AudioDataConfig(str(tmp_path), heldout_percent=0)
    noise, model = NoiseConfig(data), dataclasses.replace(CODEC, denoising=DenoisingConfig())
    for number in range(3):
        write_wav(tmp_path / f"{number}.wav", voice(1.0, 100 + number), 16000, None)
    experiment = audio_experiment(CodecExperiment, model, tmp_path, noise=noise)
    index = scan(data)
    crops = NoisyCrops(index, index, "train", 0.5, 4, 0, None, noise)
    assert shapes(experiment.abstract_batch()) == shapes(next(crops.batches(0)))
    with pytest.raises(InputError, match="noise = None: denoising needs both"):
        audio_experiment(CodecExperiment, model, tmp_path)
    with pytest.raises(InputError, match=r"model\.denoising = None: denoising needs both"):
        audio_experiment(CodecExperiment, CODEC, tmp_path, noise=noise)
    wrong = NoiseConfig(dataclasses.replace(data, sample_rate_hz=24000))
    with pytest.raises(InputError, match=r"--noise\.data\.sample-rate-hz 24000: differs"):
        audio_experiment(CodecExperiment, model, tmp_path, noise=wrong)


def test_padding_of_crops_is_left_out_of_throughput(tmp_path):
    """A clip of 0.2 s in crops of 0.5 s: two fifths are sound, with noise beside it or not."""
    write_wav(tmp_path / "short.wav", voice(0.2, 100), 16000, None)
    data = AudioDataConfig(str(tmp_path), min_seconds=0.1, heldout_percent=0)
    index, noise = scan(data), NoiseConfig(data)
    experiment = audio_experiment(EncoderExperiment, ENCODER, tmp_path)
    sizes = (index, "train", 0.5, 4, 0)
    for crops in (AudioCrops(*sizes), NoisyCrops(index, *sizes, None, noise)):
        assert experiment.filled(next(crops.batches(0))) == (0.4, 0.4)


def test_padding_of_short_sequences_is_left_out_of_throughput():
    experiment = stage_experiment("coarse")
    full = experiment.abstract_batch().targets.shape[1]
    lengths = (full // 4, full // 10)
    targets = np.zeros((2, full), np.int32)
    for row, length in enumerate(lengths):
        targets[row, :length] = FIRST_ID
    rows = TokenBatch(targets, targets, np.zeros(targets.shape, np.float32), targets)
    tokens, operations = experiment.filled(rows)
    assert tokens * experiment.units_per_step()[1] == pytest.approx(sum(lengths))
    # Shorter rows have less to attend to: a model for each length says what they need.
    needed = [flops.sequence_flops(experiment.model, length) for length in lengths]
    assert operations * experiment.model_flops() == pytest.approx(sum(needed))
    assert operations < tokens
    assert experiment.filled(dataclasses.replace(rows, targets=targets + 4)) == (1.0, 1.0)


def test_model_flops_of_a_stage_are_the_usual_count():
    experiment = stage_experiment("coarse")
    assert experiment.model_flops() == flops.model_flops(experiment.model, 2)


@pytest.mark.slow
def test_model_flops_leave_rematerialisation_out(tmp_path):
    plain = audio_experiment(EncoderExperiment, ENCODER, tmp_path)
    conformer = dataclasses.replace(ENCODER.conformer, remat="full")
    again = dataclasses.replace(plain, model=dataclasses.replace(ENCODER, conformer=conformer))
    assert plain.model_flops() == again.model_flops() > 0


@pytest.mark.slow
def test_model_flops_of_the_codec_grow_with_the_batch(tmp_path):
    experiment = audio_experiment(CodecExperiment, CODEC, tmp_path)
    double = dataclasses.replace(experiment, batch_size=8)
    assert double.model_flops() == pytest.approx(2 * experiment.model_flops(), rel=1e-6)


@pytest.mark.slow
def test_model_flops_of_the_codec_are_those_of_its_networks(tmp_path):
    experiment = audio_experiment(CodecExperiment, CODEC, tmp_path)
    samples = experiment.abstract_batch().samples
    pairs = jax.ShapeDtypeStruct((2 * len(samples), samples.shape[1]), np.float32)
    judges = experiment.train.discriminators

    def generate(samples):
        model = build_generator(CODEC, jax.random.key(0))
        return model.decoder(model.encoder(samples))

    def judge(samples):
        model = initialize(lambda draws: Discriminators(judges, draws=draws), jax.random.key(0))
        return [one.logits for one in model(samples)]

    # Forward, gradient in inputs and in weights; the discriminators twice, the second time with
    # the gradient in those inputs alone that are generated. The quantiser adds little.
    expected = 3 * count_flops(generate, samples) + 4.5 * count_flops(judge, pairs)
    found = experiment.model_flops()
    assert found == pytest.approx(expected, rel=0.05)
    # Neither the first step's k-means nor zeros between channels are the model's work.
    quantizer = dataclasses.replace(CODEC.quantizer, kmeans_iterations=99)
    model = dataclasses.replace(CODEC, quantizer=quantizer)
    blocks = {"grouped_convolution": "lane_blocks", "stft_convolution": "lane_blocks"}
    judges = dataclasses.replace(judges, **blocks)
    train = dataclasses.replace(experiment.train, discriminators=judges)
    other = dataclasses.replace(experiment, model=model, train=train)
    assert other.model_flops() == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("preset", ["dp", "fsdp", "fsdp_tp"])
@pytest.mark.parametrize(
    ("kind", "model"), [(CodecExperiment, CODEC), (EncoderExperiment, ENCODER), (None, None)]
)
def test_every_trainer_has_a_place_on_every_mesh(tmp_path, kind, model, preset):
    """Its state is made with the mesh active, as the loop does, where axis names could collide."""
    if kind is None:
        experiment = stage_experiment("coarse")
    else:
        experiment = audio_experiment(kind, model, tmp_path)
    config = MeshConfig(preset, model=2 if preset == "fsdp_tp" else 1)
    mesh, program = make_mesh(config), experiment.program()
    with use_mesh(mesh, rules_of(config)):
        abstract = jax.eval_shape(make_init(program), jax.random.key(0))
        shardings = state_shardings(mesh, rules_of(config), abstract)
    assert len(jax.tree.leaves(shardings)) == len(jax.tree.leaves(abstract)) > 0


def test_a_step_needs_the_sizes_of_its_tokens():
    experiment = stage_experiment("coarse")
    config = dataclasses.replace(experiment.model.stage, levels=0)
    model = dataclasses.replace(experiment.model, stage=config)
    unsized = dataclasses.replace(experiment, model=model)
    for function in (unsized.program, unsized.abstract_batch):
        with pytest.raises(InputError, match="give all three where there is no token store"):
            function()
