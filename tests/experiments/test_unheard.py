"""Held out means unheard: whoever measures or tokenizes refuses models that know the held-out."""

import dataclasses
import functools
import json

import numpy as np
import pytest

from audiolm_jax.audio.files import write_wav
from audiolm_jax.data.index import scan
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tokens.provenance import (
    FORMAT_VERSION,
    PADDING_RULE,
    TokenProvenance,
    TokenSizes,
)
from audiolm_jax.data.tokens.record import TokenRecord
from audiolm_jax.data.tokens.store import TokenStore, shard_name, write_manifest, write_shard
from audiolm_jax.data.unheard import check_strange, check_unheard
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.bundle.experiment import EvaluateExperiment
from audiolm_jax.evaluation.codecs.experiment import CodecEvaluateExperiment
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment
from audiolm_jax.experiments.audio import audio_facts
from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.experiments.tokens import TokenizeExperiment
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.training.config import LoopConfig, WarmStartConfig


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    for number in range(24):
        path = folder / f"speaker{number % 6}" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(number).normal(0, 0.1, 6400).astype(np.float32)
        write_wav(path, noise, 16000, None)
    return str(folder)


listed = functools.lru_cache(scan)


def provenance(data):
    """As model folders have it."""
    return {"config": {"data": dataclasses.asdict(data)}, "data": audio_facts(listed(data))}


def heldout(data):
    return {clip.path for clip in listed(data).clips if clip.split == "heldout"}


def test_what_is_let_through_was_not_trained_on(audio):
    """Every pair of rules: nothing unheard is taken for known with rules of one unit, and nothing
    known for unheard with any."""
    rules = [
        AudioDataConfig(audio, "noise", **rule)
        for rule in (
            {"heldout_percent": 0},
            {"heldout_percent": 20},
            {"heldout_percent": 60.5},
            {"heldout_minutes": 0.02},
            {"heldout_minutes": 0.08},
            {"split_by": "speaker", "heldout_percent": 40},
            {"split_by": 1, "heldout_percent": 70},
            {"split_by": "speaker", "heldout_minutes": 0.03},
        )
    ]
    passed = 0
    for trained in rules:
        for measured in rules:
            knows = bool(heldout(measured) - heldout(trained))
            try:
                check_unheard(listed(measured), {"codec": provenance(trained)})
                is_refused = False
            except InputError:
                is_refused = True
            passed += not is_refused
            assert is_refused or not knows, (trained, measured)
            percents = {trained.heldout_minutes, measured.heldout_minutes} == {None}
            if (trained.split_by == "file") == (measured.split_by == "file") and not percents:
                assert is_refused == knows, (trained, measured)
    assert passed > len(rules)


def test_minutes_of_a_folder_that_has_grown_are_compared_by_what_they_came_to(audio, tmp_path):
    """The rule is the same and the files are not: the rule alone would tell nothing."""
    data = AudioDataConfig(audio, "noise", heldout_minutes=0.05)
    index, known = scan(data), provenance(data)
    check_unheard(index, {"codec": known})
    known["data"]["heldout_below"] = index.heldout_below - 1e-6
    with pytest.raises(InputError, match=r"heldout-minutes = 0.05, .* with heldout_minutes 0.05"):
        check_unheard(index, {"codec": known})


def test_other_corpora_and_models_that_say_nothing_pass(audio):
    index = scan(AudioDataConfig(audio, "noise", heldout_percent=50))
    other = provenance(AudioDataConfig(audio, "noise", heldout_percent=10))
    other["config"]["data"] |= {"dataset": "other", "source": "elsewhere"}
    for model in (other, {}, {"config": None}, {"config": {"data": None}, "data": None}):
        check_unheard(index, {"codec": model})


def write_model(folder, origin):
    folder.mkdir()
    record = {"kind": "fake", "fingerprint": folder.name, "provenance": origin}
    (folder / "model.json").write_text(json.dumps(record))
    return str(folder)


@pytest.fixture
def parts(audio, tmp_path):
    """Models that heard what is held out by `data`, one below another."""
    seen = provenance(AudioDataConfig(audio, "noise", heldout_percent=20))
    innocent = provenance(AudioDataConfig(audio, "noise", heldout_percent=60))
    nested = innocent | {"encoder": {"fingerprint": "e", "provenance": seen}}
    return {
        "seen": write_model(tmp_path / "seen", seen),
        "innocent": write_model(tmp_path / "innocent", innocent),
        "nested": write_model(tmp_path / "nested", nested),
    }


REFUSAL = r"--data.heldout-percent = 50, .* trained on noise with heldout_percent 20"


def test_every_consumer_refuses(audio, parts, tmp_path):
    data = AudioDataConfig(audio, "noise", heldout_percent=50)
    seen, innocent, out = parts["seen"], parts["innocent"], str(tmp_path / "out")
    warm = {"warm_start": WarmStartConfig(seen), "loop": LoopConfig(1)}
    (tmp_path / "x.item").write_text("")
    consumers = [
        KmeansExperiment(directory=out, data=data, encoder=seen).fit,
        TokenizeExperiment(directory=out, data=data, codec=seen, semantic=innocent).run,
        TokenizeExperiment(directory=out, data=data, codec=innocent, semantic=seen).run,
        TokenizeExperiment(directory=out, data=data, codec=innocent, semantic=parts["nested"]).run,
        lambda: CodecEvaluateExperiment(out, "t", data, (("a", innocent), ("b", seen))).measure({}),
        CodecExperiment(directory=out, data=data, **warm).open_data,
        EncoderExperiment(directory=out, data=data, **warm).open_data,
    ]
    for consumer in consumers:
        with pytest.raises(InputError, match=REFUSAL):
            consumer()
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    origin = json.loads((tmp_path / "seen" / "model.json").read_text())["provenance"]
    (unfinished / "manifest.json").write_text(json.dumps(origin))
    warm["warm_start"] = WarmStartConfig(str(unfinished))
    with pytest.raises(InputError, match=REFUSAL):
        CodecExperiment(directory=out, data=data, **warm).open_data()
    assert not (tmp_path / "out").exists()


def test_recordings_that_cannot_serve_are_refused_before_models_are_loaded(audio, parts, tmp_path):
    """The models of `parts` are none: loading one would be another refusal."""
    data = AudioDataConfig(audio, "noise", heldout_percent=50)
    innocent, out = parts["innocent"], str(tmp_path / "out")
    many = KmeansConfig(clusters=500)
    none = dataclasses.replace(data, heldout_percent=99)
    fit = KmeansExperiment(directory=out, data=data, encoder=innocent, kmeans=many).fit
    with pytest.raises(InputError, match=r"frames for --kmeans.clusters = 500: use more audio"):
        fit()
    with pytest.raises(InputError, match=r"held-out clips is 3 to 10 s long"):
        CodecEvaluateExperiment(out, "t", data, (("a", innocent),)).measure({})
    with pytest.raises(InputError, match=r"no train clip among 24 .*heldout-percent = 99"):
        CodecExperiment(directory=out, data=none, loop=LoopConfig(1)).open_data()
    slow = dataclasses.replace(data, sample_rate_hz=8000)
    with pytest.raises(InputError, match=r"--data.sample-rate-hz 8000: differs from --model.samp"):
        EncoderExperiment(directory=out, data=slow, loop=LoopConfig(1))
    assert not (tmp_path / "out").exists()


def test_a_sweep_refuses(audio, parts, tmp_path, monkeypatch):
    data = AudioDataConfig(audio, "noise", heldout_percent=50)
    sweep = SweepExperiment(
        str(tmp_path / "out"), data, parts["seen"], ("layer",), (4,), audio, "x.item"
    )
    encoder = type("Encoder", (), {"layers": ("layer",)})
    place = "audiolm_jax.tokenizers.semantic.tokenizer.load_frame_encoder"
    monkeypatch.setattr(place, lambda folder, window: encoder)
    monkeypatch.setattr("audiolm_jax.evaluation.abx.results.read_recordings", lambda *words: None)
    with pytest.raises(InputError, match=REFUSAL):
        sweep.measure({})


def make_store(directory, data, codec_fingerprint="c"):
    sizes = TokenSizes(8, 25, 50, 2, 8)
    provenance = TokenProvenance(
        *("noise", "d", 16000, "soxr_hq", PADDING_RULE, codec_fingerprint, "s"),
        *(sizes, FORMAT_VERSION),
    )
    directory.mkdir()
    ones = np.ones((4, 2), np.uint16), np.ones(2, np.uint16)
    counts = {}
    for split in ("train", "heldout"):
        ids = [clip.clip_id for clip in scan(data).clips if clip.split == split]
        records = [TokenRecord(name, *ones, "noise", "", "", 16000) for name in ids]
        if records:
            write_shard(directory / shard_name(split, 0, 1), records, provenance)
            counts[split] = 1
    write_manifest(directory, provenance, counts, [])
    return TokenStore.open(directory)


def test_the_report_refuses_what_any_part_has_heard(audio, parts, tmp_path):
    data = AudioDataConfig(audio, "noise", heldout_percent=50)
    bundle = tmp_path / "bundle"
    bundle.mkdir()

    def report(tokens, seconds=0.3, judged=None, **origins):
        record = {"format": 1, "fingerprint": "b", "parts": {}, "provenance": origins}
        (bundle / "bundle.json").write_text(json.dumps(record))
        words = (str(tmp_path / "out"), "t", data, str(bundle), str(tmp_path / tokens), ())
        if judged is not None:
            judged = str(tmp_path / judged)
        EvaluateExperiment(*words, judged_tokens=judged, prompt_seconds=seconds).measure({})

    store = make_store(tmp_path / "tokens", data)
    make_store(tmp_path / "more", dataclasses.replace(data, heldout_percent=20))
    origins = {
        name: json.loads((tmp_path / name / "model.json").read_text())["provenance"]
        for name in parts
    }
    with pytest.raises(InputError, match=f"{REFUSAL}.*"):
        report("tokens", codec=origins["seen"], semantic=origins["innocent"])
    with pytest.raises(InputError, match=f"semantic, its encoder was {REFUSAL[32:]}"):
        report("tokens", codec=origins["innocent"], semantic=origins["nested"])
    with pytest.raises(InputError, match=r"= 50: \d+ of \d+ held-out files, such as speaker"):
        report("more", codec=origins["innocent"])
    with pytest.raises(InputError, match=rf"tokens: fingerprint {store.fingerprint}, fine_lm was"):
        report("tokens", fine_lm={"data": {"tokens": "others"}})
    with pytest.raises(InputError, match=r"no held-out clip of 3.0 s, the longest has 0.40 s"):
        report("tokens", 3.0, codec=origins["innocent"])
    # Nothing to object to: on to the parts, which are not there.
    with pytest.raises(InputError, match="names no codec; bundle again"):
        report("tokens", codec=origins["innocent"], fine_lm={"data": {"tokens": store.fingerprint}})
    make_store(tmp_path / "known", dataclasses.replace(data, heldout_percent=90))
    make_store(tmp_path / "other", data, codec_fingerprint="other")
    # Another store to judge by is another report; finished ones from before name none.
    words = (str(tmp_path / "out"), "t", data, str(bundle), str(tmp_path / "tokens"))
    other = EvaluateExperiment(*words, judged_tokens=str(tmp_path / "other")).facts()
    assert other["judged_tokens"] == TokenStore.open(tmp_path / "other").fingerprint
    assert other["tokens"] == store.fingerprint != other["judged_tokens"]
    assert EvaluateExperiment(*words).facts()["judged_tokens"] is None
    make_store(tmp_path / "none", dataclasses.replace(data, heldout_percent=0))
    for judged, line in {
        "known": rf"known: \d+ clips, such as .* are training data in {store.directory}",
        "other": f"other: written by other tokenizers than {store.directory}",
        "none": "none: holds no held-out clip",
        "more": "names no codec; bundle again",
    }.items():
        with pytest.raises(InputError, match=line):
            report("tokens", judged=judged, codec=origins["innocent"])


@pytest.mark.parametrize("key", ["source", "audio_dir"])
def test_recordings_of_a_corpus_that_a_part_learnt_from_are_refused(key):
    data = AudioDataConfig("folder", dataset="unheard")
    learnt = {"config": {"data": {key: "./folder"}}}
    with pytest.raises(InputError, match=r"--data\.source folder.*: codec of the bundle"):
        check_strange(data, {"codec": learnt})
    inner = {"semantic": {"encoder": {"provenance": learnt}}}
    with pytest.raises(InputError, match="semantic of the bundle"):
        check_strange(data, inner)
    elsewhere = {"config": {"data": {key: "elsewhere", "dataset": "other"}}}
    check_strange(data, {"codec": elsewhere, "lm": {}})
    for origin in (elsewhere, {"data": {"dataset": "other"}}):  # by name, wherever it lies
        with pytest.raises(InputError, match="codec of the bundle"):
            check_strange(AudioDataConfig("third", dataset="other"), {"codec": origin})
