"""Which stage loses words and voice: what each row is given of the recording."""

import dataclasses
import hashlib

import numpy as np
import pytest
from support.tiny_models import voice

from audiolm_jax.audio.files import read_audio, write_wav
from audiolm_jax.audio.output import read_provenance
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.recognition import AsrConfig
from audiolm_jax.evaluation.world.experiment import WorldExperiment
from audiolm_jax.evaluation.world.selection import choose_stretches, open_recordings
from audiolm_jax.evaluation.world.systems import (
    COARSE,
    FINE,
    TOLD,
    Sounds,
    ending_systems,
    reading_systems,
    seeds_of,
)
from audiolm_jax.evaluation.world.utterances import whole
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.config import GenerationConfig
from audiolm_jax.generation.pipeline import Generator

PROMPT, SECONDS = 12_800, 1.6  # 0.8 s: 40 frames, 20 semantic ones
LEVELS = 2  # that are coarse
WAV = 2e-4  # what 16 bits leave


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    for n, (speaker, pitch) in enumerate((("ann", 90), ("bob", 150))):
        (folder / speaker).mkdir()
        samples = np.append(voice(2.4, pitch, n), np.full(100, 0.01, np.float32))
        write_wav(folder / speaker / "a.wav", samples, 16000, {})
    return open_recordings(AudioDataConfig(str(folder), "voices"))


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return load_bundle(tiny_bundle)


@pytest.fixture
def sounds(index, bundle, tmp_path):
    generation = GenerationConfig(context_seconds=1.0)
    return Sounds(tmp_path, index, bundle, generation, (3, 4), {}, None)


@pytest.fixture
def stretches(index):
    return choose_stretches(index, 2, 2.4)


@pytest.fixture(scope="module")
def generator(bundle):
    return Generator(bundle, GenerationConfig(context_seconds=1.0))


def test_coarse_levels_alone_are_the_first_of_the_recording(sounds, stretches, index, generator):
    wanted = sounds.end(COARSE, stretches, PROMPT, SECONDS)
    assert [(x.place, x.seed) for x in wanted] == [(0, 0), (1, 0)]  # nothing is drawn
    assert {x.path.parent.name for x in wanted} == {"coarse"}
    for item, stretch in zip(wanted, stretches, strict=True):
        codes = generator.encode(stretch.load(index))[0]
        expected = generator.decode(codes[:, :LEVELS])
        samples = read_audio(item.path)[0]
        np.testing.assert_allclose(samples, expected, atol=WAV)
        assert np.abs(samples - generator.decode(codes)).max() > 10 * WAV
    clip = whole(index.clips[0])  # a frame longer, and that one cut
    (item,) = sounds.read(COARSE, [clip])
    samples = read_audio(item.path)[0]
    assert len(samples) == clip.stop
    codes = generator.encode(clip.load(index))[0]
    expected = generator.decode(codes[:, :LEVELS])
    np.testing.assert_allclose(samples[:38_000], expected[:38_000], atol=WAV)


def test_the_fine_stage_gets_the_recordings_coarse_codes(
    sounds, stretches, index, generator, monkeypatch
):
    decoded, decode = [], Generator.decode
    monkeypatch.setattr(Generator, "decode", lambda g, x: decoded.append(x) or decode(g, x))
    wanted = sounds.end(FINE, stretches, PROMPT, SECONDS)
    assert [(x.place, x.seed) for x in wanted] == [(0, 3), (0, 4), (1, 3), (1, 4)]
    frames = PROMPT // 320
    for item, codes in zip(wanted, decoded, strict=True):
        own = generator.encode(stretches[item.place].load(index))[0]
        np.testing.assert_array_equal(codes[:, :LEVELS], own[:, :LEVELS])
        np.testing.assert_array_equal(codes[:frames], own[:frames])
        np.testing.assert_array_equal(codes, generator.refine([own], frames, [item.seed])[0])
        assert (codes[frames:, LEVELS:] != own[frames:, LEVELS:]).mean() > 0.5
        np.testing.assert_allclose(read_audio(item.path)[0], decode(generator, codes), atol=WAV)
    # Alone as together, and of this recording.
    last = wanted[-1]
    together = last.path.read_bytes()
    last.path.unlink()
    again = sounds.end(FINE, stretches, PROMPT, SECONDS)
    assert again[-1].path.read_bytes() == together
    digest = hashlib.sha256(stretches[1].load(index).tobytes()).hexdigest()
    assert read_provenance(last.path)["recording_sha256"] == digest


def test_whole_clips_get_all_their_fine_levels_anew(sounds, index, generator, monkeypatch):
    decoded, decode = [], Generator.decode
    monkeypatch.setattr(Generator, "decode", lambda g, x: decoded.append(x) or decode(g, x))
    clip = whole(index.clips[0])
    wanted = sounds.read(FINE, [clip])
    assert [x.seed for x in wanted] == [3, 4]
    assert all(len(read_audio(x.path)[0]) == clip.stop for x in wanted)
    own = generator.encode(clip.load(index))[0]
    first, second = (codes[: len(own)] for codes in decoded)
    np.testing.assert_array_equal(first[:, :LEVELS], own[:, :LEVELS])
    assert (first[:40, LEVELS:] != own[:40, LEVELS:]).mean() > 0.5
    assert not np.array_equal(first, second)


def test_told_units_are_the_endings_own(sounds, stretches, index, generator, monkeypatch):
    said, speak = [], Generator.speak

    def listen(generator, prompts, semantic, seconds, seeds):
        made = speak(generator, prompts, semantic, seconds, seeds)
        said.extend(zip(prompts, semantic, made, strict=True))
        return made

    monkeypatch.setattr(Generator, "speak", listen)
    wanted = sounds.end(TOLD, stretches, PROMPT, SECONDS)
    assert [(x.place, x.seed) for x in wanted] == [(0, 3), (0, 4), (1, 3), (1, 4)]
    for item, (prompt, told, made) in zip(wanted, said, strict=True):
        samples = stretches[item.place].load(index)
        np.testing.assert_array_equal(prompt, samples[:PROMPT])
        np.testing.assert_array_equal(told, generator.encode(samples)[1][20:])
        assert "semantic" not in made.log_probs  # stage 1 wrote nothing
        np.testing.assert_allclose(read_audio(item.path)[0], made.samples, atol=WAV)
    assert not np.array_equal(said[0][2].samples, said[1][2].samples)
    digest = hashlib.sha256(stretches[0].load(index).tobytes()).hexdigest()
    assert read_provenance(wanted[0].path)["recording_sha256"] == digest


@pytest.fixture
def experiment():
    return WorldExperiment(
        directory="out",
        title="",
        data=AudioDataConfig("audio", "voices"),
        world="world",
        asr=AsrConfig("whisper"),
        bundle="bundle",
        temperatures=(0.6,),
    )


@pytest.mark.parametrize("has_fine", [True, False])
def test_rows_are_added_where_they_are_asked_for(experiment, has_fine):
    ends, reads = (
        [system.label for system in of(experiment, has_fine)]
        for of in (ending_systems, reading_systems)
    )
    assert ends == ["real recording", "codec round trip", "continued, T = 0.6"]
    assert reads == ["real recording", "codec round trip", "revoiced"]
    asked = dataclasses.replace(experiment, by_stage=True)
    more = [COARSE.label, FINE.label] if has_fine else []
    ends[2:2], reads[2:2] = [*more, TOLD.label], more
    assert [system.label for system in ending_systems(asked, has_fine)] == ends
    assert [system.label for system in reading_systems(asked, has_fine)] == reads
    assert [*seeds_of(COARSE, (1, 2)), *seeds_of(FINE, (1, 2))] == [0, 1, 2]
    with pytest.raises(InputError, match="--by-stage: is of no use without --bundle"):
        dataclasses.replace(asked, bundle=None)
