"""Minimal pairs end to end with a tiny untrained stage; its scores beside slower ways to them."""

import json

import numpy as np
import pytest
from support import tiny_models
from support.token_stores import make_store, provenance_of

from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.audio.files import write_wav
from audiolm_jax.audio.resample import read_resampled
from audiolm_jax.data.tokens.provenance import TokenSizes
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.ngram import NgramModel
from audiolm_jax.evaluation.pairs.experiment import PairsExperiment
from audiolm_jax.evaluation.pairs.scores import StageScorer, tokenize, totals
from audiolm_jax.generation.bundle import stage_model
from audiolm_jax.generation.decode import StageDecoder
from audiolm_jax.stages import build_sequence
from audiolm_jax.tokenizers.semantic.tokenizer import load_semantic_tokenizer
from audiolm_jax.types import AudioBatch

STAGE = tiny_models.stage("semantic", 4.0)
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A semantic tokenizer and a stage of it."""
    root = tmp_path_factory.mktemp("parts")
    tiny_models.write_semantic(root / "semantic", root / "encoder")
    upstream = {"semantic": tiny_models.fingerprint(root / "semantic"), "codec": "c"}
    tiny_models.write_stage(root / "semantic_lm", STAGE, upstream)
    return root


@pytest.fixture(scope="module")
def stage(parts):
    return stage_model(load_model(parts / "semantic_lm"), "stage", "semantic")


def sequence(clusters):
    return build_sequence(np.asarray(clusters), np.zeros((0, 0), int), False, STAGE)


def random_sequences(count, seed=0):
    rng = np.random.default_rng(seed)
    return [sequence(rng.integers(0, 8, rng.integers(1, 100))) for _ in range(count)]


def write_pairs(folder, seconds=(0.6, 0.9, 0.5, 0.6)):
    """Each good member lasts, in turn, so many seconds; the last pair says the same twice."""
    lines = ["kind\tspeaker\tgood\tbad\ttype"]
    for number, length in enumerate(seconds):
        for member in ("good", "bad"):
            pitch = 100 + 40 * number + 25 * (member == "bad" and number + 1 < len(seconds))
            samples = tiny_models.voice(length, pitch, number)
            write_wav(folder / f"{member}{number}.wav", samples, RATE_HZ, {})
        lines.append(f"agreement\tanna\tgood{number}.wav\tbad{number}.wav\t{'ab'[number % 2]}")
    (folder / "pairs.tsv").write_text("\n".join(lines) + "\n")
    return folder / "pairs.tsv"


def write_store(directory, semantic, seed=0):
    """Tokens of the sizes of the tiny models, by a tokenizer of this fingerprint."""
    store_sizes = provenance_of(TokenSizes(8, 25, 50, 3, 5), codec="c", semantic=semantic)
    fields = ("semantic_fingerprint", "sizes")
    changes = {name: getattr(store_sizes, name) for name in fields}
    make_store(directory, {"train": [60, 80, 30, 90], "heldout": [10]}, seed, **changes)
    return directory


@pytest.mark.slow
def test_scores_are_those_of_the_decoder_in_any_batch(stage):
    sequences = random_sequences(11)
    decoder = StageDecoder(stage.config, stage.folder.arrays)
    expected = [decoder.score(x.tokens, x.target_start) for x in sequences]
    for batch_size in (1, 4, 16):
        found = StageScorer(stage, batch_size)(sequences)
        assert [len(own) for own in found] == [len(x.tokens) - 1 for x in sequences]
        for own, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(own, wanted, rtol=1e-4, atol=1e-4)


def test_equal_sequences_tie_exactly(stage):
    sequences = random_sequences(9)
    found = StageScorer(stage, 4)([*sequences, *sequences[::-1]])
    for first, second in zip(found, found[:8:-1], strict=False):
        assert first.tobytes() == second.tobytes()


def test_totals_are_sums_and_means_over_tokens():
    found = totals({"m": [np.array([-1.0, -2.0]), np.array([-4.0], np.float32)]})
    assert found["m, sum"].tolist() == [-3.0, -4.0]
    assert found["m, per token"].tolist() == [-1.5, -4.0]


def test_files_are_tokenized_as_alone_and_too_long_ones_refused(tmp_path, parts):
    tokenizer = load_semantic_tokenizer(parts / "semantic")
    write_pairs(tmp_path, (0.4, 1.3, 0.7))
    paths = sorted(tmp_path.glob("*.wav"))
    found = tokenize(paths, tokenizer, STAGE, 4)
    assert set(found) == set(paths)
    for path in paths:
        clip = read_resampled(path, RATE_HZ, "soxr_hq")
        ids = tokenizer.encode(AudioBatch.from_clips([clip])).ids[0]
        assert found[path].tokens.tolist() == sequence(ids).tokens.tolist()
    write_wav(tmp_path / "long.wav", np.full(4 * RATE_HZ + 1, 0.1, np.float32), RATE_HZ, {})
    with pytest.raises(InputError, match=r"long.wav: lasts 4.00 s, the stage reads 4 s"):
        tokenize([*paths, tmp_path / "long.wav"], tokenizer, STAGE, 4)


def test_the_whole_road(tmp_path, parts):
    semantic = tiny_models.fingerprint(parts / "semantic")
    experiment = PairsExperiment(
        directory=str(tmp_path / "out"),
        pairs=str(write_pairs(tmp_path)),
        semantic_lm=str(parts / "semantic_lm"),
        semantic=str(parts / "semantic"),
        tokens=str(write_store(tmp_path / "tokens", semantic)),
        batch_size=3,
    )
    page = experiment.run()
    record = json.loads((tmp_path / "out" / "pairs.json").read_text())
    rows = {(row["group"], row["value"]): row for row in record["rows"]}
    assert {key: row["pairs"] for key, row in rows.items()} == {
        ("", ""): 4,
        ("type", "a"): 2,
        ("type", "b"): 2,
    }
    models = ("model", "unigram", "bigram", "5-gram")
    names = [f"{m}, {s}" for m in models for s in ("sum", "per token")]
    assert list(rows["", ""]["accuracies"]) == names
    lines = (tmp_path / "out" / "scores.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["file", "tokens", "model", "unigram", "bigram", "5-gram"]
    cells = {line.split("\t")[0]: line.split("\t")[1:] for line in lines[1:]}
    assert set(cells) == {f"{m}{n}.wav" for m in ("good", "bad") for n in range(4)}
    assert cells["good3.wav"] == cells["bad3.wav"]  # the same sound ties
    for column, name in ((1, "model"), (2, "unigram"), (3, "bigram"), (4, "5-gram")):
        for normalized in (False, True):
            won = 0.0
            for number in range(4):
                good, bad = (
                    float(own[column]) / (float(own[0]) if normalized else 1)
                    for own in (cells[f"good{number}.wav"], cells[f"bad{number}.wav"])
                )
                won += (good > bad) + 0.5 * (good == bad)
            key = f"{name}, {'per token' if normalized else 'sum'}"
            assert rows["", ""]["accuracies"][key]["mean"] == won / 4
    # Each n-gram is that of its order.
    paths = [tmp_path / name for name in cells]
    found = tokenize(paths, load_semantic_tokenizer(parts / "semantic"), STAGE, 3)
    store = TokenStore.open(tmp_path / "tokens")
    ngrams = NgramModel(store.sequences("train", STAGE), STAGE, 5).losses(
        [found[path] for path in paths]
    )
    for order, column in ((1, 2), (2, 3), (5, 4)):
        sums = [-nats.sum() for nats in ngrams[order - 1]]
        assert [float(own[column]) for own in cells.values()] == pytest.approx(sums, abs=1e-5)
    text = page.read_text()
    assert "| agreement, type a | 2 |" in text
    stamp = page.stat().st_mtime_ns
    assert experiment.run().stat().st_mtime_ns == stamp  # finished already


def test_the_folders_of_zerospeech(tmp_path, parts):
    folder = tmp_path / "set" / "lexical" / "dev"
    folder.mkdir(parents=True)
    lines = ["id,filename,voice,frequency,word,phones,length,correct"]
    for number in range(8):  # two pairs in two voices, and the right one of each before the other
        write_wav(folder / f"f{number}.wav", tiny_models.voice(0.5, 90 + 30 * number), RATE_HZ, {})
        pair, correct = number // 4, 1 - number % 2
        voice = "AB"[number // 2 % 2]
        lines.append(f"{pair},f{number},{voice},{7 * pair},w,W,1,{correct}")
    (folder / "gold.csv").write_text("\n".join(lines) + "\n")
    experiment = PairsExperiment(
        directory=str(tmp_path / "out"),
        pairs=str(tmp_path / "set"),
        semantic_lm=str(parts / "semantic_lm"),
        semantic=str(parts / "semantic"),
    )
    experiment.run()
    record = json.loads((tmp_path / "out" / "pairs.json").read_text())
    text = (tmp_path / "out" / "scores.tsv").read_text().splitlines()[1:]
    scores = dict(line.split("\t")[::2] for line in text)
    won = [
        (float(good) > float(bad)) + 0.5 * (good == bad)
        for good, bad in (
            [scores[f"lexical/dev/f{n + wrong}.wav"] for wrong in (0, 1)] for n in range(0, 8, 2)
        )
    ]
    expected = {
        ("", ""): (2, sum(won) / 4),
        ("vocabulary", "out"): (1, sum(won[:2]) / 2),
        ("vocabulary", "in"): (1, sum(won[2:]) / 2),
        ("frequency", "oov"): (1, sum(won[:2]) / 2),
        ("frequency", "6-20"): (1, sum(won[2:]) / 2),
    }
    found = {
        (row["group"], row["value"]): (row["pairs"], row["accuracies"]["model, sum"]["mean"])
        for row in record["rows"]
    }
    assert found == expected


def test_parts_that_do_not_belong_together_are_refused(tmp_path, parts):
    def of(**changes):
        return PairsExperiment(
            directory=str(tmp_path / "out"),
            pairs=str(tmp_path / "pairs.tsv"),
            semantic_lm=str(parts / "semantic_lm"),
            **changes,
        )

    with pytest.raises(InputError, match=r"pairs.tsv: not found"):
        of(semantic=str(parts / "semantic")).run()
    write_pairs(tmp_path, (0.5,))
    with pytest.raises(InputError, match=r"no bundle; name the semantic tokenizer in --semantic"):
        of().run()
    store = write_store(tmp_path / "tokens", "another")
    with pytest.raises(InputError, match=r"tokens: of tokens of semantic another, but"):
        of(semantic=str(parts / "semantic"), tokens=str(store)).run()
    with pytest.raises(InputError, match=r"--batch-size 0: expected 1 or more"):
        of(batch_size=0)


def test_a_bundle_has_both_parts(tmp_path, parts):
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in ("semantic", "semantic_lm"):
        (folder / name).symlink_to(parts / name)
    (folder / "bundle.json").write_text("{}")
    write_pairs(tmp_path, (0.5, 0.6))
    experiment = PairsExperiment(
        directory=str(tmp_path / "out"),
        pairs=str(tmp_path / "pairs.tsv"),
        semantic_lm=str(folder),
    )
    experiment.run()
    record = json.loads((tmp_path / "out" / "pairs.json").read_text())
    assert list(record["rows"][0]["accuracies"]) == ["model, sum", "model, per token"]
    assert record["of"]["tokens"] is None
