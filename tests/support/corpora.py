"""Small folders of recordings of all sorts, made from a seed."""

from pathlib import Path

import numpy as np

from audiolm_jax.data.packs.config import PackConfig
from audiolm_jax.data.packs.write import pack
from audiolm_jax.data.sources import AudioDataConfig
from support.audio_files import container, encoded

# Suffix, libsndfile's format and subtype, most channels; None: by FFmpeg's encoder.
KINDS = [
    (".wav", "WAV", "PCM_16", 4),
    (".wav", "WAV", "PCM_U8", 2),
    (".wav", "WAV", "PCM_24", 3),
    (".wav", "WAV", "PCM_32", 2),
    (".wav", "WAV", "FLOAT", 2),
    (".wav", "WAV", "ULAW", 1),
    (".w64", "W64", "PCM_16", 1),
    (".flac", "FLAC", "PCM_16", 2),
    (".flac", "FLAC", "PCM_24", 1),
    (".ogg", "OGG", "VORBIS", 2),
    (".mp3", None, "libmp3lame", 1),
]
RATES = (8000, 11025, 16000, 22050, 44100)


def make_corpus(root: Path, seed: int, files: int, longest: float = 2.5) -> AudioDataConfig:
    """Writes recordings of 0.1 s to `longest` seconds, some of them too short, silent or no audio,
    of several speakers; and the config that reads them. Ogg files differ each time by a byte, and
    with that what is held out."""
    rng = np.random.default_rng(seed)
    for number in range(files):
        suffix, form, subtype, most = KINDS[int(rng.integers(len(KINDS)))]
        rate = int(rng.choice(RATES)) if form else 16000
        shape = (int(rate * rng.uniform(0.1, longest)), int(rng.integers(1, most + 1)))
        sound = rng.uniform(-1, 1, shape) * rng.choice(
            [0.0, 0.01, 0.5, 1.0], p=[0.1, 0.3, 0.3, 0.3]
        )
        if form is None:
            data = encoded("mp3", subtype, sound[:, 0], rate)
        else:
            data = container(form, subtype, sound, rate)
        path = root / f"speaker{rng.integers(3)}" / f"b{rng.integers(2)}" / f"{number:03}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if rng.random() < 0.93 else b"no audio")
    lines = [f"{path.stem}: words of {path.stem}\n" for path in sorted(root.rglob("*.*"))]
    (root / "transcripts.txt").write_text("".join(lines))
    return AudioDataConfig(str(root), heldout_percent=30, max_seconds=1.0)


def make_pack(source: AudioDataConfig, directory: Path, shards: int = 3, **config) -> None:
    """`pack` in one go."""
    assert pack(source, PackConfig(shards, **config), directory)
