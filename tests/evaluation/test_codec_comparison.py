"""The comparison of codecs: measures that can be known, Opus in step, means and their intervals."""

import dataclasses
import json
import sys
import types

import numpy as np
import pytest
from support.clip_lists import Recording, clip_index
from support.tiny_models import voice

from audiolm_jax.artifacts.config_json import config_from_dict
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.codecs.comparison import (
    ORIGINAL,
    ClipRecord,
    ClipResult,
    CodebookUse,
    Condition,
    difference,
    summarize,
)
from audiolm_jax.evaluation.codecs.opus import opus_roundtrip
from audiolm_jax.evaluation.codecs.page import CodecPage
from audiolm_jax.evaluation.codecs.selection import select_clips
from audiolm_jax.evaluation.measures import quality
from audiolm_jax.evaluation.measures.bootstrap import bootstrap
from audiolm_jax.evaluation.measures.histograms import LevelUse
from audiolm_jax.evaluation.measures.recognition import (
    AsrConfig,
    Recognizer,
    TextErrors,
    count_errors,
)
from audiolm_jax.evaluation.measures.waveform import mel_distance

RATE_HZ = quality.RATE_HZ


def noisy(clean, level, seed=0):
    noise = np.random.default_rng(seed).standard_normal(len(clean))
    return (clean + level * noise).astype(np.float32)


@pytest.mark.parametrize("metric", quality.WAVEFORM_METRICS, ids=lambda metric: metric.name)
def test_a_measure_is_best_for_equal_signals_and_falls_with_noise(metric):
    if missing := quality.missing_packages(metric):
        pytest.skip(f"pip install {' '.join(missing)}")
    clean = voice(2.0, 120)
    estimates = [clean, noisy(clean, 0.01), noisy(clean, 0.1)]
    values = [
        quality.measure(clean, estimate, [metric.name], "polynomial")[metric.name]
        for estimate in estimates
    ]
    best = {"visqol": 5.0, "pesq": 4.64, "stoi": 1.0, "si_sdr_db": 100.0, "mel_distance": 0.0}
    assert values[0] == pytest.approx(best[metric.name], abs=0.01)
    assert values == sorted(values, reverse=metric.higher_is_better)
    assert len(set(values)) == 3


class Listener(types.ModuleType):
    """The packages `pesq` and `visqol`, as far as they are used: no speech below a level."""

    class NoUtterancesError(Exception):
        pass

    def pesq(self, rate_hz, reference, estimate, mode):
        if min(np.abs(reference).max(), np.abs(estimate).max()) < 1e-3:
            raise self.NoUtterancesError
        return 3.5

    class VisqolApi:
        def create(self, **options):
            pass

        def measure_from_arrays(self, reference, estimate, rate_hz):
            return types.SimpleNamespace(moslqo=3.5)


@pytest.mark.parametrize("metric", quality.WAVEFORM_METRICS[:2], ids=lambda metric: metric.name)
@pytest.mark.parametrize("package", ["real", "stand-in"])
def test_a_resynthesis_without_speech_costs_the_least_score(metric, package, monkeypatch):
    if package == "stand-in":
        monkeypatch.setattr(quality, "_VISQOL", {})
        monkeypatch.setitem(sys.modules, metric.name, Listener(metric.name))
    elif missing := quality.missing_packages(metric):
        pytest.skip(f"pip install {' '.join(missing)}")
    score = lambda *pair: quality.measure(*pair, [metric.name], "polynomial")[metric.name]  # noqa: E731
    clean = voice(2.0, 120)
    silence, murmur = np.zeros_like(clean), (1e-5 * clean).astype(np.float32)
    assert metric.failed == score(clean, silence) == 1.0 < score(clean, clean)
    assert score(silence, clean) is None
    assert score(silence, silence) is None
    if metric.name == "pesq" and package == "stand-in":
        assert score(clean, murmur) == 1.0
        assert score(murmur, clean) is None


def test_silence_has_no_score_where_none_is_defined():
    silence, clean = np.zeros(32000, np.float32), voice(2.0, 120)
    names = ["si_sdr_db", "stoi"]
    assert quality.measure(silence, clean, names, "polynomial") == dict.fromkeys(names)
    of_silence = quality.measure(clean, silence, names, "polynomial")
    assert of_silence["si_sdr_db"] == -100
    assert of_silence["stoi"] == pytest.approx(0, abs=0.01)


def test_a_missing_package_is_named_as_pip_knows_it(monkeypatch):
    monkeypatch.setattr(quality.importlib.util, "find_spec", lambda module: None)
    needed = {metric.name: quality.missing_packages(metric) for metric in quality.METRICS}
    assert needed["visqol"] == ("visqol-python",)
    assert needed["pesq"] == ("pesq",)
    assert needed["mel_distance"] == ()
    assert "faster-whisper" in needed["wer"]
    visqol = quality.WAVEFORM_METRICS[0]
    assert quality.missing_packages(visqol, "lattice") == ("visqol-python", "ai-edge-litert")


def test_opus_is_in_step_and_costs_what_it_should():
    rng = np.random.default_rng(0)
    noise = np.convolve(rng.standard_normal(47777), np.hanning(9), "same")  # no whole frames
    rhythm = 1.2 + np.sin(2 * np.pi * 4 * np.arange(47777) / RATE_HZ)
    clean = (0.03 * noise * rhythm).astype(np.float32)
    distances = []
    for kbps in (8.0, 24.0, 64.0):
        clip = opus_roundtrip(clean, RATE_HZ, kbps)
        assert clip.samples.shape == clean.shape
        assert clip.samples.dtype == np.float32
        size = 2**17
        product = np.fft.rfft(clip.samples, size) * np.conj(np.fft.rfft(clean, size))
        lag = int(np.argmax(np.fft.irfft(product)))
        assert min(lag, size - lag) <= 1
        assert 0.6 * kbps < clip.packet_bits / (len(clean) / RATE_HZ) / 1000 < 1.4 * kbps
        assert clip.packet_bits < clip.file_bits < clip.packet_bits + 8 * 1500
        distances.append(mel_distance(clean, clip.samples, RATE_HZ))
    assert distances == sorted(distances, reverse=True)


def test_bootstrap_of_known_samples():
    assert bootstrap(np.zeros(0), np.zeros(0), 0) is None
    same = bootstrap(np.full(5, 3.0), np.ones(5), 0)
    assert (same.mean, same.low, same.high, same.clips) == (3.0, 3.0, 3.0, 5)
    values = np.random.default_rng(1).normal(10.0, 2.0, 400)
    one = bootstrap(values, np.ones(400), 7)
    assert one == bootstrap(values, np.ones(400), 7) != bootstrap(values, np.ones(400), 8)
    # The interval of a mean of many is 1.96 standard errors to each side.
    error = 1.96 * values.std() / 20
    assert one.low == pytest.approx(values.mean() - error, abs=0.05)
    assert one.high == pytest.approx(values.mean() + error, abs=0.05)
    # Long clips weigh more: a ratio of sums, not a mean of ratios.
    assert bootstrap(np.array([1.0, 0.0]), np.array([1.0, 9.0]), 0).mean == pytest.approx(0.1)


def record(name, pesq, errors=None, opus=2.0):
    """A clip in the original, at one bitrate of a codec and of Opus."""
    results = (
        ClipResult(ORIGINAL, None, None, {}, "hi", errors),
        ClipResult("a, 2 levels", 2000, None, {"pesq": pesq}, "ho", errors),
        ClipResult("Opus 6 kbit/s", 6000, 7000, {"pesq": opus}, "hi", errors),
    )
    return ClipRecord(name, "0" * 64, 1.0, "hi", results)


CONDITIONS = (
    Condition(ORIGINAL, ORIGINAL, None, None),
    Condition("a, 2 levels", "a", 2, 2.0),
    Condition("Opus 6 kbit/s", "Opus", None, 6.0),
)
USE = CodebookUse("a", 100, 16, 50.0, (LevelUse(0, 8, 8, 8.0), LevelUse(1, 16, 0, 16.0)))


def test_rows_hold_bitrates_means_and_errors_over_all_words():
    clips = [
        record("x", 3.0, TextErrors(1, 1, 10, 5)),
        record("y", None, TextErrors(9, 0, 90, 0)),
    ]
    original, codec, opus = summarize(CONDITIONS, clips, [USE], ("pesq", "wer", "cer"), 0)
    assert original.measured_kbps is None
    assert original.means["pesq"] is None
    assert (codec.measured_kbps, codec.file_kbps) == (2.0, None)
    assert (opus.measured_kbps, opus.file_kbps) == (6.0, 7.0)
    assert codec.entropy_kbps == pytest.approx(50 * (3 + 4) / 1000)
    assert opus.entropy_kbps is None
    assert codec.means["pesq"].mean == 3.0
    assert codec.means["pesq"].clips == 1
    assert codec.means["wer"].mean == pytest.approx(10.0)
    assert codec.means["cer"].mean == pytest.approx(5.0)
    assert (codec.means["pesq"].failed, codec.means["pesq"].left_out) == (0, 1)
    # Only where both have a score.
    clips.append(record("z", 3.0, opus=None))
    apart = difference(clips, "a, 2 levels", "Opus 6 kbit/s", "pesq", 0)
    assert (apart.mean, apart.clips) == (1.0, 1)


def test_failed_clips_count_in_the_mean_and_in_words():
    clips = [record("x", 3.0), record("y", 1.0), record("z", None)]
    rows = summarize(CONDITIONS, clips, [USE], ("pesq",), 0)
    mean = rows[1].means["pesq"]
    assert (mean.mean, mean.clips, mean.failed, mean.left_out) == (2.0, 2, 1, 1)
    page = CodecPage("", "", 1, (), (), {}, "", rows, {}, (), (), (USE,), ())
    cells = {row[0]: row[-6] for row in page.means.rows}
    assert cells["a, 2 levels"] == "2.00 (1.00 to 3.00); 1 failed; 1 left out"
    assert cells["Opus 6 kbit/s"] == "2.00 (2.00 to 2.00)"


def test_records_survive_json():
    clip = record("x", 3.0, TextErrors(1, 1, 10, 5))
    fields = json.loads(json.dumps(dataclasses.asdict(clip)))
    assert config_from_dict(ClipRecord, fields, "json") == clip


def index_of(*clips):
    return clip_index(clips, RATE_HZ)


def clip(name, seconds, text="words", content=None, split="heldout"):
    return Recording(name, seconds, text, (content or name).encode().hex(), split)


def test_clips_are_chosen_by_hash_and_the_others_named():
    recordings = [
        clip("en/a.wav", 4), clip("en/b.wav", 4), clip("en/short.wav", 2), clip("it/c.wav", 5),
        clip("en/tone.wav", 4, "[tone]"), clip("en/mute.wav", 4, ""), clip("en/long.wav", 11),
        clip("it/copy.wav", 5, content="it/c.wav"), clip("en/known.wav", 4, split="train"),
    ]  # fmt: skip
    index = index_of(*recordings)
    asr = AsrConfig("folder", ("en/*",), min_seconds=3.0)

    def bare(text):
        return text.replace("[tone]", "")

    chosen = select_clips(index, 3.0, 10.0, 60, asr, bare)
    assert {one.clip_id for one in chosen.waveform} in (
        {"en/a.wav", "en/b.wav", "en/tone.wav", "en/mute.wav", name}
        for name in ("it/c.wav", "it/copy.wav")
    )
    assert {one.clip_id for one in chosen.words} == {"en/a.wav", "en/b.wav", "en/long.wav"}
    reasons = {(one.clip_id, one.part): one.reason for one in chosen.left_out}
    assert len(reasons) == len(chosen.left_out)
    assert "outside 3 to 10 s" in reasons["en/short.wav", "waveform"]
    assert "shorter than asr.min_seconds" in reasons["en/short.wav", "words"]
    assert "outside" in reasons["en/long.wav", "waveform"]
    assert reasons["en/mute.wav", "words"] == "no transcript"
    assert "without words: [tone]" in reasons["en/tone.wav", "words"]
    assert any("same content as it/c" in reason for reason in reasons.values())
    assert not any(name == "en/known.wav" for name, _ in reasons)
    # Fewer are the first of more, and the file order does not matter.
    fewer = select_clips(index, 3.0, 10.0, 2, asr, bare)
    assert fewer.waveform == chosen.waveform[:2]
    turned = select_clips(index_of(*recordings[::-1]), 3.0, 10.0, 60, asr, bare)
    assert turned.waveform == chosen.waveform
    assert sum("beyond the first 2" in one.reason for one in fewer.left_out) == 3


def test_no_clip_to_judge_is_an_error():
    with pytest.raises(InputError, match="no heldout clip"):
        select_clips(index_of(clip("a", 4, split="train")), 3.0, 10.0, 60, None, str)
    with pytest.raises(InputError, match=r"none of 1 held-out clips is 3 to 10 s long"):
        select_clips(index_of(clip("a", 2)), 3.0, 10.0, 60, None, str)
    with pytest.raises(InputError, match=r"asr.clips \('en/\*',\) match no held-out clip"):
        select_clips(index_of(clip("a", 4)), 3.0, 10.0, 60, AsrConfig("m", ("en/*",)), str)


def test_a_folder_without_a_recognizer_is_named(tmp_path):
    with pytest.raises(InputError, match=r"--asr.model .*no model.bin there"):
        Recognizer(tmp_path, "en")


def test_a_folder_that_holds_something_else_gets_one_line(tmp_path):
    pytest.importorskip("faster_whisper")
    for name in ("config.json", "tokenizer.json", "vocabulary.txt", "model.bin"):
        (tmp_path / name).write_text("nothing of the kind")
    with pytest.raises(InputError, match=r"--asr.model .*cannot be loaded: ") as error:
        Recognizer(tmp_path, "en")
    assert len(str(error.value).splitlines()) == 1


def test_edits_of_words_and_characters():
    errors = count_errors("please leave a message", "please leaf the long message")
    assert (errors.words, errors.word_errors) == (4, 3)
    assert errors.characters == len("please leave a message")
    assert count_errors("one two", "") == TextErrors(2, 2, 7, 7)
    assert count_errors("one two", "one two") == TextErrors(2, 0, 7, 0)
