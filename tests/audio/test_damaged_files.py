"""Whatever is done to a file: it is read as another decoder reads it to its end, or it is named."""

import io
import warnings

import av
import numpy as np
import pytest
import soundfile
from support.audio_files import encoded

from audiolm_jax.audio.files import FORMATS, iter_audio
from audiolm_jax.errors import InputError

SIZES = (0, 1, 0x7FFFF000, 0x80000000, 0xFFFFFFFF)
# (suffix, soundfile's format and subtype) or (suffix, FFmpeg's container and codec)
SOUNDFILE = [
    *((".wav", "WAV", kind) for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT")),
    *((".wav", "WAV", kind) for kind in ("ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32")),
    (".wav", "WAVEX", "PCM_16"),
    (".wav", "RF64", "PCM_16"),
    (".w64", "W64", "PCM_16"),
    (".w64", "W64", "MS_ADPCM"),
    (".flac", "FLAC", "PCM_16"),
    (".ogg", "OGG", "VORBIS"),
]
FFMPEG = [(".mp3", "mp3", "libmp3lame"), (".opus", "ogg", "libopus"), (".g722", "g722", "g722")]
FFMPEG += [(".m4a", "mp4", "aac"), (".m4a", "mp4", "alac")]
KINDS = SOUNDFILE + FFMPEG


def sound(count):
    time = np.arange(count) / 8000
    noise = np.random.default_rng(0).normal(0, 0.02, count)
    return (0.4 * np.sin(2500 * time * (1 + time)) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def whole_files():
    """(suffix, what it is, its bytes) of every format."""
    files = []
    for suffix, container, codec in SOUNDFILE:
        file = io.BytesIO()
        soundfile.write(file, sound(6000), 8000, format=container, subtype=codec)
        files.append((suffix, f"{container} {codec}", file.getvalue()))
    for suffix, container, codec in FFMPEG:
        rate = 48000 if codec == "libopus" else 16000
        files.append((suffix, codec, encoded(container, codec, sound(12000), rate)))
    return files


def damaged(data, rng):
    """(what was done, the bytes)"""
    data, end = bytearray(data), len(data)
    at = int(rng.integers(0, end if rng.random() < 0.5 else min(end, 128)))
    junk = rng.bytes(int(rng.integers(1, 300)))
    match what := str(
        rng.choice(["bit", "size", "cut", "junk", "ends", "lost", "blank", "header"])
    ):
        case "bit":
            data[at] ^= 1 << int(rng.integers(8))
        case "size":
            at = at // 4 * 4
            value = SIZES[rng.integers(len(SIZES))] if rng.random() < 0.6 else None
            old = int.from_bytes(data[at : at + 4], "little")
            new = (old + int(rng.integers(-2, 3))) % 2**32 if value is None else value
            data[at : at + 4] = new.to_bytes(4, "little")
        case "cut":
            del data[at:]
        case "junk":
            data[at:at] = junk
        case "ends":
            data = junk + data if rng.random() < 0.5 else data + junk
        case "lost":
            del data[at : at + len(junk)]
        case "blank":
            data[at : at + len(junk)] = bytes(len(data[at : at + len(junk)]))
        case "header":
            del data[: int(rng.integers(1, 64))]
    return f"{what} at {at}", bytes(data)


def ours(path):
    """(samples, notes), or InputError."""
    notes, blocks = [], []
    for block, _ in iter_audio(path, notes=notes):
        blocks.append(block)
    return np.concatenate([np.zeros(0, np.float32), *blocks]), notes


def of_ffmpeg(path):
    """What FFmpeg plays from the start, mono; stops where it does."""
    blocks = [np.zeros(0)]
    try:
        with av.open(str(path), format=FORMATS[path.suffix]) as container:
            for packet in container.demux(container.streams.audio[0]):
                for frame in packet.decode():
                    values = frame.to_ndarray()
                    if not frame.format.is_planar:
                        values = values.reshape(-1, frame.layout.nb_channels).T
                    if values.dtype == np.uint8:
                        values = (values - 128.0) / 128
                    elif values.dtype.kind == "i":
                        values = values / -float(np.iinfo(values.dtype).min)
                    blocks.append(values.mean(0))
    except (av.FFmpegError, IndexError, ValueError):
        return None
    return np.concatenate(blocks)


def of_soundfile(path):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return soundfile.read(path, always_2d=True)[0].mean(1)
    except (soundfile.LibsndfileError, ValueError, RuntimeError):
        return None


def check(path, whole, data):
    """ "named", "noted" or "equal"; AssertionError for a part, or other samples, in silence."""
    path.write_bytes(data)
    try:
        samples, notes = ours(path)
    except InputError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017
        return "named"
    assert np.isfinite(samples).all()
    if notes:
        return "noted"
    decoders = (of_ffmpeg, of_soundfile) if path.suffix != ".g722" else (of_ffmpeg,)
    others = [other for decode in decoders if (other := decode(path)) is not None]
    same = [
        len(other) == len(samples) and np.allclose(other, samples, atol=2e-6) for other in others
    ]
    assert any(same), f"others have {[len(other) for other in others]}, we {len(samples)}"
    if path.suffix != ".g722":  # which has no header: nobody can know that it was cut
        assert len(samples) >= whole, f"a part in silence: {len(samples)} of {whole} samples"
    return "equal"


def run(folder, whole_files, count, seed):
    """How many of so many damaged files of each format were named, noted or equal."""
    rng, counts, failures = np.random.default_rng(seed), {}, []
    for suffix, kind, data in whole_files:
        path = folder / f"a{suffix}"
        path.write_bytes(data)
        samples, notes = ours(path)
        assert len(samples) >= 6000, (kind, notes)
        for number in range(count):
            words, bad = damaged(data, rng)
            try:
                verdict = check(path, len(samples), bad)
            except Exception as error:
                failures.append(f"{kind}, {number}, {words}: {error!r}"[:300])
                verdict = "FAILED"
            counts.setdefault(kind, {}).setdefault(verdict, 0)
            counts[kind][verdict] += 1
    return counts, failures


def test_damaged_files_are_whole_or_named(tmp_path, whole_files):
    counts, failures = run(tmp_path, whole_files, 16, seed=1)
    assert not failures, "\n".join(failures)
    assert len(counts) == len(KINDS)


@pytest.mark.slow
def test_thousands_of_damaged_files_are_whole_or_named(tmp_path, whole_files):
    counts, failures = run(tmp_path, whole_files, 250, seed=2)
    print(*counts.items(), sep="\n")
    assert not failures, "\n".join(failures)
