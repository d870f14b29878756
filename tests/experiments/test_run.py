"""From a folder of recordings to a report, every kind of experiment for a step or two."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from support.tiny_models import (
    CODEC,
    DECODER,
    ENCODER,
    KMEANS,
    stage,
    voice,
    write_codec,
    write_stage,
)

from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.audio.files import read_audio, write_wav
from audiolm_jax.cli.bundle import bundle
from audiolm_jax.data.batch_contents import describe_tokens
from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.index import scan
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.data.tokens.mixture import TokenMixture
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.bundle.experiment import EvaluateExperiment
from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.experiments.tokens import TokenizeExperiment
from audiolm_jax.generation.config import GenerationConfig
from audiolm_jax.lm.config import StageModelConfig
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    DiscriminatorConfig,
    LossConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.tokenizers.semantic.w2v_bert.config import W2vBertTrainConfig
from audiolm_jax.training.config import LoopConfig, WarmStartConfig
from audiolm_jax.training.metrics import read_metrics

LOOP = LoopConfig(steps=2, evaluate_every=2, checkpoint_every=2, tensorboard=False)


NO_SIZES = {"semantic_clusters": 0, "codebook_size": 0, "levels": 0}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("road")
    (folder / "audio").mkdir()
    for i in range(12):
        sound = voice(1.0 + 0.2 * i, 80 + 15 * i, i)
        write_wav(folder / "audio" / f"clip_{i}.wav", sound, 16000, None)
    (folder / "audio" / "broken.wav").write_text("this is no sound\n" * 40)
    return folder


@pytest.fixture(scope="module")
def data(root):
    return AudioDataConfig(str(root / "audio"), dataset="tones", heldout_percent=30)


@pytest.fixture(scope="module")
def trained(root, data):
    """Every part, trained by its own experiment."""
    discriminators = DiscriminatorConfig(wave_scales=(), stft_width=2, stft_window=128, stft_hop=64)
    experiments = {
        "codec": CodecExperiment(
            directory=str(root / "codec"),
            data=data,
            loop=dataclasses.replace(LOOP, keep_best=1, best_metric="spectral_loss", export="best"),
            crop_seconds=0.5,
            batch_size=2,
            model=CODEC,
            train=SoundStreamTrainConfig(
                discriminators=discriminators,
                losses=LossConfig(spectral_windows=(64,), mel_bins=4),
            ),
            samples=1,
        ),
        "encoder": EncoderExperiment(
            directory=str(root / "encoder"),
            data=data,
            loop=LOOP,
            crop_seconds=1.0,
            batch_size=2,
            model=ENCODER,
            train=W2vBertTrainConfig(distractors=4),
        ),
        "kmeans": KmeansExperiment(
            directory=str(root / "kmeans"), data=data, encoder=str(root / "encoder"), kmeans=KMEANS
        ),
        "tokens": TokenizeExperiment(
            directory=str(root / "tokens"),
            data=data,
            codec=str(root / "codec"),
            semantic=str(root / "kmeans"),
            tokenize=TokenizeConfig(shards=2),
        ),
        # Of the stages one; tests/experiments/test_in_memory.py trains them all.
        "coarse_lm": StageExperiment(
            directory=str(root / "coarse_lm"),
            tokens=str(root / "tokens"),
            codec=str(root / "codec"),
            semantic=str(root / "kmeans"),
            loop=LOOP,
            # Sizes come from the token store.
            model=StageModelConfig(dataclasses.replace(stage("coarse", 2.0), **NO_SIZES), DECODER),
            batch_size=2,
            reader="plain",  # test_tasks.py tells that SeqIO reads the same
        ),
    }
    for experiment in experiments.values():
        experiment.run()
    return experiments


def test_a_finished_run_is_left_alone_and_says_so(trained, caplog):
    caplog.set_level("INFO")
    for experiment in trained.values():
        caplog.clear()
        experiment.run()
        assert "nothing to do" in caplog.text


def test_the_best_codec_is_exported_and_can_be_heard(trained, root):
    provenance = load_model(root / "codec" / "model").provenance
    best = json.loads((root / "codec" / "best.json").read_text())
    assert best["metric"] == "spectral_loss"
    assert [best["checkpoints"][0][name] for name in ("step", "value")] == [
        provenance[name] for name in ("steps", "value")
    ]
    recorded, rate = read_audio(root / "codec" / "samples" / "recorded_0_step_0.wav")
    heard, _ = read_audio(root / "codec" / "samples" / "codec_0_step_2.wav")
    assert rate == 16000
    assert recorded.shape == heard.shape
    assert np.abs(recorded).max() > 0.1
    assert np.abs(recorded - heard).max() > 0.01  # two steps teach nothing


@pytest.mark.slow
def test_a_run_starts_from_the_weights_of_another_and_says_so(trained, root, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(root / "encoder", source)
    loop = dataclasses.replace(LOOP, steps=1)
    experiment = dataclasses.replace(
        trained["encoder"],
        directory=str(tmp_path / "run"),
        loop=loop,
        warm_start=WarmStartConfig(str(source)),
    )
    experiment.run()
    facts = json.loads((tmp_path / "run" / "manifest.json").read_text())["warm_start"]
    assert (facts["source"], facts["step"]) == (str(source), 2)
    assert load_model(tmp_path / "run" / "model").provenance["warm_start"] == facts
    cold = read_metrics(root / "encoder" / "metrics.jsonl")[0]
    warm = read_metrics(tmp_path / "run" / "metrics.jsonl")[0]
    assert cold["loss"] != warm["loss"]
    shutil.rmtree(source)  # not needed any more
    dataclasses.replace(experiment, loop=LOOP).run()
    assert load_model(tmp_path / "run" / "model").provenance["steps"] == 2


@pytest.mark.parametrize("part", ["codec", "encoder", "coarse_lm"])
def test_a_pass_has_no_more_batches_than_the_loop_allows(trained, part):
    def count(limit):
        loop = dataclasses.replace(LOOP, heldout_batches=limit)
        experiment = dataclasses.replace(trained[part], batch_size=1, loop=loop)
        if isinstance(experiment, StageExperiment):
            experiment = experiment.sized()
        return sum(1 for _ in experiment.open_data().heldout())

    whole = count(None)
    assert whole > 2
    assert [count(limit) for limit in (2, whole + 1)] == [2, whole]


def test_timing_and_metrics_hold_rates_and_norms(trained, root):
    (first, *_) = read_metrics(root / "coarse_lm" / "timing.jsonl")
    assert {"tokens_per_second", "model_flops_per_second", "data_wait_share"} <= first.keys()
    line = read_metrics(root / "codec" / "metrics.jsonl")[0]
    for name in ("grad_norm/encoder", "grad_norm/discriminator", "param_norm/decoder"):
        assert line[name] > 0


def test_rows_of_a_batch_are_named_by_recording_and_crop(trained, root, data):
    index = scan(data)
    clips = {clip.clip_id: clip for clip in index.of("train")}
    crops = AudioCrops(index, "train", 0.5, 2, seed=3)
    batch = next(crops.batches(5))
    for row, text in enumerate(crops.describe(5)):
        found = re.fullmatch(r"position (\d+): (.*), ([\d.]+) to ([\d.]+) s", text)
        assert int(found[1]) == 10 + row
        start = round(float(found[3]) * 16000)
        whole = index.load(clips[found[2]])
        near = [whole[s : s + 8000] for s in range(max(0, start - 8), start + 9)]  # ms are shown
        assert any(np.array_equal(batch.samples[row], crop) for crop in near)
    store = TokenStore.open(root / "tokens")
    rows = describe_tokens(TokenMixture([store]), stage("coarse", 2.0), 3, seed=0, edge_share=0.2)(
        1
    )
    assert [text.split(":")[0] for text in rows] == ["position 3", "position 4", "position 5"]
    names = {store.record("train", i).clip_id for i in range(store.num_records("train"))}
    assert all(text.split()[2] in names for text in rows)


def test_bad_files_are_listed_and_good_ones_used(trained, data, caplog):
    index = scan(data)
    assert len(index.clips) == 12
    assert "1 files skipped (1 " in caplog.text
    assert index.bad[0].path == "broken.wav"


def test_another_config_in_the_same_directory_is_refused(trained):
    other = dataclasses.replace(trained["coarse_lm"], batch_size=3)
    with pytest.raises(InputError, match="batch_size is 2 in this run directory and 3 now"):
        other.run()


def test_tokens_of_another_codec_are_refused(trained, root, tmp_path):
    write_codec(tmp_path / "other", seed=3)
    for changed in ({"codec": str(tmp_path / "other")}, {"semantic": str(tmp_path / "other")}):
        experiment = dataclasses.replace(
            trained["coarse_lm"], directory=str(tmp_path / "run"), **changed
        )
        with pytest.raises(InputError, match=r"--tokens .*written by .* tokenize again"):
            experiment.run()
    assert not (tmp_path / "run").exists()
    retokenize = dataclasses.replace(trained["tokens"], codec=str(tmp_path / "other"))
    with pytest.raises(InputError, match="holds tokens of fingerprint"):
        retokenize.run()


def test_a_stage_that_does_not_fit_the_tokens_is_refused(trained, tmp_path):
    wrong = dataclasses.replace(stage("coarse", 2.0), codebook_size=32)
    experiment = dataclasses.replace(
        trained["coarse_lm"],
        directory=str(tmp_path / "run"),
        model=StageModelConfig(wrong, DECODER),
    )
    with pytest.raises(InputError, match=r"--model\.stage\.codebook-size 32.*written with 16"):
        experiment.run()


def test_the_report_is_written_from_measurements(trained, root, data):
    made_of = load_model(root / "coarse_lm" / "model").provenance
    write_stage(root / "semantic_lm", stage("semantic"), made_of)
    write_stage(root / "fine_lm", stage("fine", 1.0), made_of)
    parts = ("codec", "kmeans", "semantic_lm", "coarse_lm", "fine_lm")
    bundle([*(str(root / part) for part in parts), "--out", str(root / "bundle")])
    experiment = EvaluateExperiment(
        str(root / "report"),
        "Tones",
        data,
        str(root / "bundle"),
        str(root / "tokens"),
        tuple(str(root / name) for name in ("codec", "encoder", "coarse_lm")),
        prompts=1,
        prompt_seconds=1.0,
        continuation_seconds=0.4,
        seeds=(0, 1),
        generation=GenerationConfig(context_seconds=1.0),
    )
    page = experiment.run()
    assert page.read_text().count("<audio") == 5
    record = json.loads((root / "report" / "report.json").read_text())
    assert record["heldout_speakers"]["nameless_clips"] == len(scan(data).of("heldout"))
    assert "held-out clips is unknown" in page.read_text()
    assert [stage["stage"] for stage in record["likelihood"]] == ["semantic", "coarse", "fine"]
    for table in record["likelihood"]:
        total = table["rows"][-1]
        assert total["level"] == "all"
        assert np.isfinite([total["model_nats"], total["unigram_nats"], total["bigram_nats"]]).all()
    before = page.stat().st_mtime_ns
    experiment.run()
    assert page.stat().st_mtime_ns == before
