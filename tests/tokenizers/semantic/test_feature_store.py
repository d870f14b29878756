"""Features of clips on disk: how many of how many, and going on where a start ended."""

import json

import numpy as np
import pytest
from support.tiny_models import voice

from audiolm_jax.audio.files import write_wav
from audiolm_jax.data.index import scan
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.kmeans import feature_store
from audiolm_jax.tokenizers.semantic.kmeans.blocks import Blocks, divide
from audiolm_jax.tokenizers.semantic.kmeans.feature_store import choose_clips, store_features
from audiolm_jax.tokenizers.semantic.window_config import WindowConfig
from audiolm_jax.training.config import MeshConfig
from audiolm_jax.training.mesh import make_mesh

HOP = 640


class Loudness:
    """An encoder of one dimension: the mean square of each frame."""

    sample_rate_hz, hop_samples, fingerprint = 16000, HOP, "f"
    layers = ("x", "y")

    def __init__(self):
        self.clips = 0

    def features(self, audio, layer):
        lengths = -(-audio.lengths // HOP)
        self.clips += len(lengths)
        x = np.pad(audio.samples, ((0, 0), (0, -audio.samples.shape[1] % HOP)))
        return np.square(x).reshape(len(x), -1, HOP).mean(2)[:, :, None], lengths


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    for i in range(12):
        write_wav(folder / f"{i}.wav", voice(0.2 + 0.11 * i, 90 + 9 * i, i), 16000, None)
    return scan(AudioDataConfig(str(folder), heldout_percent=20))


def store(folder, index, choice, *encoders, layer="x", size=40, mesh=None):
    blocks = divide(sum(choice.frames), size, mesh)
    return store_features(folder, index, choice, encoders, layer, WindowConfig(), 2, blocks)


def test_all_frames_of_all_training_clips(index, tmp_path):
    choice = choose_clips(index, HOP, 10_000, 0)
    clips = sorted(index.of("train"), key=lambda clip: clip.num_samples)
    assert choice.clips == tuple(clips)
    assert choice.frames == tuple(-(-clip.num_samples // HOP) for clip in clips)
    total = sum(choice.frames)
    assert str(choice) == f"{total} of {total} frames, {len(clips)} of {len(clips)} training clips"
    made = store(tmp_path / "a", index, choice, Loudness())
    assert made.shape == (total, 1)
    expected = []
    for clip in clips:
        samples = index.load(clip)
        samples = np.pad(samples, (0, -len(samples) % HOP))
        expected.append(np.square(samples).reshape(-1, HOP).mean(1))
    np.testing.assert_array_equal(made[:][:, 0], np.concatenate(expected))


def test_a_choice_of_clips_has_just_so_many_frames_and_is_seeded(index):
    counts = {clip.clip_id: -(-clip.num_samples // HOP) for clip in index.of("train")}
    choices = [choose_clips(index, HOP, 61, seed) for seed in (0, 0, 1)]
    assert choices[0] == choices[1] != choices[2]
    for choice in choices:
        assert sum(choice.frames) == 61
        assert choice.facts["available_frames"] == sum(counts.values())
        assert choice.facts["clips"] == len(choice.clips) < choice.facts["available_clips"]
        short = [c for c, n in zip(choice.clips, choice.frames, strict=True)
                 if n < counts[c.clip_id]]  # fmt: skip
        assert len(short) <= 1


def test_an_interrupted_start_is_gone_on_with(index, tmp_path):
    choice = choose_clips(index, HOP, 10_000, 0)
    whole = store(tmp_path / "whole", index, choice, Loudness())

    class Killed(Loudness):
        def features(self, audio, layer):
            if self.clips >= 6:
                raise KeyboardInterrupt
            return super().features(audio, layer)

    with pytest.raises(KeyboardInterrupt):
        store(tmp_path / "cut", index, choice, Killed())
    found = {path.name for path in (tmp_path / "cut").iterdir()}
    assert {"block_000000.f32", "features.json"} <= found
    rest = Loudness()
    again = store(tmp_path / "cut", index, choice, rest)
    assert 0 < rest.clips < len(choice.clips)
    np.testing.assert_array_equal(again[:], whole[:])
    finished = Loudness()
    np.testing.assert_array_equal(store(tmp_path / "cut", index, choice, finished)[:], whole[:])
    assert finished.clips == 0
    facts = json.loads((tmp_path / "cut" / "features.json").read_text())
    assert facts["layer"] == "x"
    with pytest.raises(InputError, match=r"features\.json: holds features of another encoder, l"):
        store(tmp_path / "cut", index, choice, rest, layer="y")
    block = tmp_path / "cut" / "block_000001.f32"
    block.write_bytes(block.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"block_000001\.f32: damaged .* delete"):
        store(tmp_path / "cut", index, choice, rest)


@pytest.mark.parametrize("size", [7, 64, 10_000])
def test_blocks_and_encoders_at_once_change_nothing(index, tmp_path, size):
    """Nor is a clip encoded twice that two blocks of one host share."""
    choice = choose_clips(index, HOP, 150, 0)
    whole = store(tmp_path / "whole", index, choice, Loudness())
    encoders = [Loudness() for _ in range(3)]
    mesh = make_mesh(MeshConfig("dp"))
    made = store(tmp_path / "cut", index, choice, *encoders, size=size, mesh=mesh)
    np.testing.assert_array_equal(made[:], whole[:])
    assert sum(encoder.clips for encoder in encoders) == len(choice.clips)
    rows = np.array([149, 0, 3, 3, 77])
    np.testing.assert_array_equal(made[rows], whole[:][rows])
    np.testing.assert_array_equal(made[130:2000], whole[:][130:])


class Hosts:
    """Blocks of one host of several, whose words to each other are taken as said."""

    def __init__(self, monkeypatch, hosts):
        self.hosts, self.patch = hosts, monkeypatch

    def store(self, host, folder, index, choice, encoder):
        count = sum(choice.frames)
        blocks = Blocks(count, 16, self.hosts * 2, (2 * host, 2 * host + 1), (2 * host,))
        self.patch.setattr(feature_store, "from_all_hosts", lambda value: [value])
        return store_features(folder, index, choice, [encoder], "x", WindowConfig(), 2, blocks)


def test_hosts_share_a_folder_or_have_their_own(index, tmp_path, monkeypatch):
    choice = choose_clips(index, HOP, 200, 0)
    whole = store(tmp_path / "whole", index, choice, Loudness())[:]
    folders = [tmp_path / "all", *[tmp_path / "own" / str(i) for i in range(3)]]
    hosts = Hosts(monkeypatch, 3)
    for host in range(3):
        for folder in (folders[0], folders[1 + host]):
            made = hosts.store(host, folder, index, choice, Loudness())
            own = [n for n in range(made._blocks.count) if n % 6 in made._blocks.own]
            for rows in map(made._blocks.rows, own):
                np.testing.assert_array_equal(made[rows], whole[rows])
        found = sorted(path.name for path in folder.glob("block*"))
        assert found == [f"block_{number:06d}.f32" for number in own]
    one = Loudness()  # goes on alone where three ended
    made = store(folders[0], index, choice, one, size=16)
    np.testing.assert_array_equal(made[:], whole)
    assert one.clips == 0
    made = store(folders[1], index, choice, one, size=16)  # which the others' blocks are not in
    np.testing.assert_array_equal(made[:], whole)
    assert one.clips > 0


def test_audio_of_another_rate_is_refused(index, tmp_path):
    encoder = Loudness()
    encoder.sample_rate_hz = 8000
    with pytest.raises(InputError, match=r"--data\.sample-rate-hz = 16000: the encoder takes 8000"):
        store(tmp_path, index, choose_clips(index, HOP, 99, 0), encoder)
