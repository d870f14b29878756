"""The pictures of docs/guide/how_it_works.md are what the code draws, and what it would do."""

import dataclasses
import json

import numpy as np
import pytest

from audiolm_jax.stages import BOS, EOS, SEP, StageConfig
from tools.site import pictures


@pytest.fixture(scope="module")
def heard():
    return pictures.read_tokens()


def test_the_files_are_what_is_drawn(heard):
    for name, svg in pictures.pictures(heard).items():
        path = pictures.FOLDER / name
        again = "run python -m tools.site.pictures again"
        assert path.read_text(encoding="utf-8") == svg, f"{path}: {again}"
        assert len(svg) < 100_000


def test_other_tokens_are_drawn_otherwise(heard):
    other = dataclasses.replace(heard, units=heard.units[::-1])
    assert pictures.draw_sequences(other) != pictures.draw_sequences(heard)


def test_tokens_are_of_the_tokenizers_that_come_with_the_repository(heard):
    stages = pictures.bundle_stages()
    seconds = pictures.SECONDS[1] - pictures.SECONDS[0]
    assert len(heard.units) == round(seconds * stages["coarse"].semantic_rate_hz)
    codes = np.array(heard.codes)
    assert codes.shape == (
        round(seconds * stages["coarse"].acoustic_rate_hz),
        stages["fine"].levels,
    )
    assert 0 <= codes.min()
    assert codes.max() < stages["fine"].codebook_size
    assert max(heard.units) < stages["semantic"].semantic_clusters


def test_sequences_are_those_of_the_stages(heard):
    drawn = {name: [text for text, _ in cells] for name, cells in pictures.sequences(heard).items()}
    first, second = heard.units[:2]
    assert drawn["semantic"] == ["BOS", f"{first}", f"{second}", "EOS"]
    codes = [f"{heard.codes[t][q]}\n{q + 1}" for t in range(4) for q in range(2)]
    assert drawn["coarse"] == ["BOS", f"{first}", f"{second}", "SEP", *codes, "EOS"]
    fine = [f"{heard.codes[t][q]}\n{q + 1}" for t in range(2) for q in range(2, 12)]
    coarse = [f"{heard.codes[t][q]}\n{q + 1}" for t in range(2) for q in range(2)]
    assert drawn["fine"] == ["BOS", *coarse, "SEP", *fine]


def test_attention_sees_the_past_and_itself():
    np.testing.assert_array_equal(pictures.visible(12), np.tril(np.ones((12, 12), bool)))


def test_legal_ids_are_those_of_the_level():
    stage = StageConfig("fine", 8, 16, 4, 2)
    assert pictures.legal_runs(stage) == [[(4 + 32, 16)], [(4 + 48, 16)]]
    stage = StageConfig("coarse", 8, 16, 4, 2)
    assert pictures.legal_runs(stage) == [[(EOS, 1), (12, 16)], [(28, 16)]]
    assert (BOS, SEP) == (1, 2)


def test_spans_go_on_where_the_last_ended():
    rows = pictures.spans()
    end = pictures.PROMPT_SECONDS
    for row in rows:
        (what, start, stop), *chunks = row
        assert (what, stop) == ("context", end)
        assert stop - start >= 3 - 1e-9 or row is rows[0]
        for _, start, stop in chunks:
            assert start == end
            end = stop
    assert end == pictures.PROMPT_SECONDS + pictures.ASKED_SECONDS
    assert 0.4 < rows[0][1][2] - rows[0][1][1] <= 0.5  # so that sound starts early


@pytest.mark.slow
def test_the_bundle_hears_these_tokens_and_has_this_schedule(heard):
    import audiolm_jax

    now = pictures.hear()
    assert now.recording == heard.recording
    # Rounding differs between processors: a frame may fall to the other of two near centroids.
    assert np.mean(np.array(now.units) == np.array(heard.units)) >= 0.9
    assert np.mean(np.array(now.codes)[:, :2] == np.array(heard.codes)[:, :2]) >= 0.9
    assert audiolm_jax.load().generator.schedule == pictures.bundle_schedule()
    assert json.loads(pictures.TOKENS.read_text()) == dataclasses.asdict(heard)
