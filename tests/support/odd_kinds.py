"""Of every odd kind of recording one, with what becomes of it: see `support.odd_folder`."""

import dataclasses
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from support.audio_files import container, encoded, frames_of
from support.odd_lists import ODD
from support.tiny_models import voice
from support.wav_files import TAGS, ds64, riff

RATE, COUNT = 16000, 24000
SIZE = 2 * COUNT
JUNK = b"\x01\x02\x03 this is no sound" * 9
GOOD, NOTED, NAMED = "used", "used, with a note", "not used"


@dataclasses.dataclass(frozen=True)
class Kind:
    """Something in the folder, and what the audit says of it."""

    what: str
    name: str  # path below the folder
    put: bytes | Callable[[Path], object]  # content, or what makes it
    verdict: str = GOOD
    words: str = ""  # in the note or the reason
    samples: int = COUNT  # at the file's own rate, if it is used
    rate_hz: int = RATE
    is_padded: bool = False  # by its coder: there may be more samples
    needs_user: bool = False  # nothing is unreadable for root


def _pcm(number: int) -> np.ndarray:
    return (voice(COUNT / RATE, 80 + 5 * number, number) * 32767).astype("<i2")


def all_kinds() -> list[Kind]:
    """In the order of the page."""
    return [
        *_plain(),
        *_headers(),
        *_coded(),
        *_called_otherwise(),
        *_names(),
        *_sounds(),
        *_lists(),
    ]


def _plain() -> list[Kind]:
    kinds = []
    for number, (kind, subtype, what) in enumerate([
        ("WAV", "PCM_U8", "wav, 8 bit"),
        ("WAV", "PCM_16", "wav, 16 bit"),
        ("WAV", "PCM_24", "wav, 24 bit"),
        ("WAV", "PCM_32", "wav, 32 bit"),
        ("WAV", "FLOAT", "wav, 32-bit float"),
        ("WAV", "DOUBLE", "wav, 64-bit float"),
        ("WAV", "ALAW", "wav, A-law"),
        ("WAV", "ULAW", "wav, mu-law"),
        ("WAVEX", "PCM_24", "wav, WAVE_FORMAT_EXTENSIBLE"),
        ("RF64", "PCM_16", "wav, RF64"),
    ]):  # fmt: skip
        data = container(kind, subtype, _pcm(number), RATE)
        kinds.append(Kind(what, f"plain/{kind}_{subtype}.wav", data))
    bw64 = ds64(SIZE + 72, SIZE)
    data = riff(_pcm(10).tobytes(), 0xFFFFFFFF, total=0xFFFFFFFF, kind=b"BW64", before=bw64)
    wave64 = container("W64", "PCM_16", _pcm(11), RATE)
    return [
        *kinds,
        Kind("wav, BW64", "plain/bw64.wav", data),
        Kind("Wave64", "plain/wave.w64", wave64),
        Kind("Wave64 named .wav", "plain/wave64.wav", wave64),
        Kind("Two files with the same bytes", "plain/duplicate.wav", data),
    ]


def _headers() -> list[Kind]:
    pcm = [_pcm(20 + n).tobytes() for n in range(16)]
    to_the_end, differ = "does not say how long the data is", "are there and are read"

    def wav(what, name, data, verdict=GOOD, words="", **more):
        return Kind(f"wav, {what}", f"headers/{name}.wav", data, verdict, words, **more)

    odd = (_pcm(29) >> 8).astype(np.int8).view(np.uint8) ^ 128
    junk = b"junk" + struct.pack("<I", 28) + bytes(28)
    return [
        wav(
            "size 0, as a pipe or a crash leaves it",
            "zero",
            riff(pcm[0], 0, total=0),
            NOTED,
            to_the_end,
        ),
        wav(
            "size 0x7ffff000 (sox in a pipe)",
            "sox",
            riff(pcm[1], 0x7FFFF000, total=0x7FFFF024),
            NOTED,
            to_the_end,
        ),
        wav(
            "size 0xffffffff (FFmpeg in a pipe)",
            "ffmpeg",
            riff(pcm[2], 0xFFFFFFFF, total=0xFFFFFFFF),
            NOTED,
            to_the_end,
        ),
        wav("size one too small", "less", riff(pcm[3], SIZE - 1, TAGS), NOTED, differ),
        wav("size one too large", "more", riff(pcm[4], SIZE + 1, TAGS), NOTED, differ),
        wav(
            "size of the whole file wrong",
            "total",
            riff(pcm[5], total=SIZE + 99),
            NOTED,
            "bytes in all",
        ),
        wav(
            "odd number of bytes, not padded",
            "unpadded",
            riff(odd.tobytes()[:-1], bits=8, after=TAGS),
            samples=COUNT - 1,
        ),
        wav("another chunk before the data", "before", riff(pcm[6], before=junk)),
        wav("tags after the data", "tags", riff(pcm[7], after=TAGS)),
        wav(
            "no chunk after the data",
            "after",
            riff(pcm[8], after=JUNK),
            NOTED,
            "are no chunk and are not read",
        ),
        wav(
            "half a sample at the end",
            "half",
            riff(pcm[9] + b"x", after=TAGS),
            NOTED,
            "no whole sample",
        ),
        wav("really cut", "cut", riff(pcm[10])[:-5000], NAMED, "truncated: the header says"),
        wav(
            "cut in its header",
            "head",
            riff(pcm[11])[:30],
            NAMED,
            "truncated: chunk b'fmt ' needs 16 bytes",
        ),
        wav(
            "two stretches of data",
            "two",
            riff(pcm[12], after=b"data" + struct.pack("<I", 4) + b"abcd"),
            NAMED,
            "two 'data' chunks",
        ),
        wav(
            "0 channels",
            "channels",
            riff(pcm[13])[:22] + b"\0\0" + riff(pcm[13])[24:],
            NAMED,
            "0 channels",
        ),
        wav(
            "a codec that nobody knows",
            "codec",
            riff(pcm[14], tag=0x9999),
            NAMED,
            "not .wav audio that FFmpeg knows",
        ),
        wav(
            "big-endian (RIFX)",
            "rifx",
            b"RIFX" + riff(pcm[15])[4:],
            NAMED,
            "is a big-endian RIFX file",
        ),
    ]


def _coded() -> list[Kind]:
    sounds = [_pcm(40 + n) / 32768 for n in range(16)]

    def kind(what, name, data, verdict=GOOD, words="", **more):
        return Kind(what, f"coded/{name}", data, verdict, words, is_padded=True, **more)

    mp3s = [encoded("mp3", "libmp3lame", sound, RATE) for sound in sounds[:6]]
    middle = [frames_of(mp3)[9] for mp3 in mp3s]
    aac = encoded("mp4", "aac", sounds[7], RATE)
    flac, ogg = (
        container("FLAC", "PCM_16", sounds[8], RATE),
        container("OGG", "VORBIS", sounds[9], RATE),
    )
    hurt = bytearray(flac)
    hurt[len(flac) // 2] ^= 1
    page = ogg.rindex(b"OggS\0") + 40
    wavs = [
        kind(f"wav, {what}", f"{coder}.wav", container("WAV", coder, sounds[10], RATE))
        for coder, what in (
            ("IMA_ADPCM", "IMA ADPCM"),
            ("MS_ADPCM", "MS ADPCM"),
            ("GSM610", "GSM 6.10"),
            ("G721_32", "G.721"),
        )
    ]
    return [
        *wavs,
        Kind("FLAC", "coded/flac.flac", flac),
        kind("FLAC, one bit of it changed", "hurt.flac", bytes(hurt), NAMED, "damaged"),
        kind("FLAC, cut", "cut.flac", flac[:-3000], NAMED, "truncated"),
        kind("Ogg Vorbis", "vorbis.ogg", ogg),
        kind(
            "Ogg Vorbis, one byte of it changed",
            "hurt.ogg",
            ogg[:page] + b"?" + ogg[page + 1 :],
            NAMED,
            "damaged: the Ogg page",
        ),
        kind(
            "Opus",
            "opus.opus",
            encoded("ogg", "libopus", np.repeat(sounds[11], 3), 48000),
            samples=3 * COUNT,
            rate_hz=48000,
        ),
        kind(
            "Opus named .ogg",
            "opus_too.ogg",
            encoded("ogg", "libopus", np.repeat(sounds[12], 3), 48000),
            samples=3 * COUNT,
            rate_hz=48000,
        ),
        kind("mp3", "mp3.mp3", mp3s[0]),
        kind("mp3, junk before it", "before.mp3", JUNK + mp3s[1], NOTED, "damaged"),
        kind(
            "mp3, junk between its frames",
            "between.mp3",
            mp3s[2][: middle[2]] + JUNK + mp3s[2][middle[2] :],
            NOTED,
            "damaged",
        ),
        kind("mp3, junk after it", "after.mp3", mp3s[3] + JUNK, NOTED, "damaged"),
        kind("mp3, cut", "cut.mp3", mp3s[4][: middle[4]], NAMED, "truncated"),
        kind("m4a (AAC)", "aac.m4a", aac),
        kind("m4a (AAC), cut", "cut.m4a", aac[:-500], NAMED, "truncated"),
        kind("m4a (Apple lossless)", "alac.m4a", encoded("mp4", "alac", sounds[13], RATE)),
        kind("G.722", "g722.g722", encoded("g722", "g722", sounds[14], RATE)),
        kind(
            "AIFF",
            "sound.aiff",
            container("AIFF", "PCM_16", sounds[15], RATE),
            NAMED,
            "sound that is not read",
        ),
        kind(
            "AU",
            "sound.au",
            container("AU", "PCM_16", sounds[15], RATE),
            NAMED,
            "sound that is not read",
        ),
        kind(
            "CAF",
            "sound.caf",
            container("CAF", "PCM_16", sounds[15], RATE),
            NAMED,
            "sound that is not read",
        ),
    ]


def _called_otherwise() -> list[Kind]:
    sound = _pcm(60)
    mp3 = encoded("mp3", "libmp3lame", sound / 32768, RATE)
    rename, convert = "rename it to end in", "convert it to flac or wav"

    def kind(what, name, data, words):
        return Kind(what, f"called/{name}", data, NAMED, words)

    return [
        kind(
            "Ogg named .wav",
            "ogg.wav",
            container("OGG", "VORBIS", sound, RATE),
            f"an Ogg file named .wav; {rename} .ogg",
        ),
        kind("mp3 named .flac", "mp3.flac", mp3, f"is an MP3 file named .flac; {rename} .mp3"),
        kind(
            "FLAC named .mp3",
            "flac.mp3",
            container("FLAC", "PCM_16", sound, RATE),
            f"a FLAC file named .mp3; {rename} .flac",
        ),
        kind(
            "AIFF named .wav",
            "aiff.wav",
            container("AIFF", "PCM_16", sound, RATE),
            f"an AIFF file named .wav; {convert}",
        ),
        kind(
            "Text named .wav", "text.wav", b"Dear listener,\n" * 99, "it is a text file named .wav"
        ),
        kind(
            "A web page named .mp3",
            "page.mp3",
            b"<!DOCTYPE html><html>404</html>\n" * 9,
            "it is a text file named .mp3",
        ),
        kind(
            "Random bytes named .mp3",
            "random.mp3",
            np.random.default_rng(5).bytes(5000),
            "no MPEG audio frame",
        ),
        kind("Zero bytes", "empty.wav", b"", "empty file (0 bytes)"),
        Kind(
            "A folder named .wav, with a recording in it",
            "called/folder.wav/in.wav",
            riff(_pcm(61).tobytes()),
        ),
    ]


def _names() -> list[Kind]:
    pcm = [_pcm(70 + n).tobytes() for n in range(16)]

    def unreadable(path):
        path.write_bytes(riff(pcm[0]))
        path.chmod(0)

    def to_itself(path):
        path.symlink_to(path.name)

    def up(path):
        (path.parent / "up").symlink_to("..")
        path.write_bytes(riff(pcm[1]))

    gone = lambda path: path.symlink_to("nowhere.wav")  # noqa: E731
    return [
        Kind("A link to nowhere", "names/gone.wav", gone, NAMED, "No such file"),
        Kind("A link to itself", "names/loop.wav", to_itself, NAMED, "symbolic links"),
        Kind("A linked folder that leads back up", "names/loop/in.wav", up),
        Kind(
            "A file that the user may not read",
            "names/locked.wav",
            unreadable,
            NAMED,
            "cannot be read: Permission denied",
            needs_user=True,
        ),
        Kind("A name that is not UTF-8", "names/" + os.fsdecode(b"caf\xe9.wav"), riff(pcm[2])),
        Kind("A name with a line break", "names/two\nlines.wav", riff(pcm[3])),
        Kind("A name of 250 bytes", f"names/{'n' * 246}.wav", riff(pcm[4])),
        Kind("A name that begins with a dash", "names/-dash.wav", riff(pcm[5])),
        Kind("A name with spaces and signs", "names/a b #0001 'c' \"d\".wav", riff(pcm[6])),
        Kind("A letter with its accent in one", "names/\xe9.wav", riff(pcm[7])),
        Kind("The same letter and its accent apart", "names/e\u0301.wav", riff(pcm[8])),
        Kind("A suffix in capitals", "names/LOUD.WAV", riff(pcm[9])),
        Kind(
            "macOS metadata (._name)",
            "names/._dash.wav",
            b"\0\x05\x16\x07" + bytes(99),
            NAMED,
            "left out: a name with ._",
        ),
        Kind(
            "A recording in a hidden folder",
            "names/.trash/old.wav",
            riff(pcm[10]),
            NAMED,
            "hidden folder with 1 audio files: left out",
        ),
    ]


def _sounds() -> list[Kind]:
    def kind(what, name, samples, rate=RATE, subtype="PCM_16", **more):
        data = container("WAV", subtype, samples, rate)
        return Kind(what, f"sounds/{name}.wav", data, samples=len(samples), rate_hz=rate, **more)

    def at(rate, number):
        return np.interp(np.arange(0, 1.5, 1 / rate), np.arange(COUNT) / RATE, _pcm(number) / 32768)

    holes = [(_pcm(90 + n) / 32768).astype(np.float32) for n in range(2)]
    holes[0][999], holes[1][999] = np.nan, np.inf
    six = np.stack([_pcm(92 + n) for n in range(6)], 1)
    finite = "contains NaN or infinite samples"
    slow = riff(_pcm(99).tobytes())
    return [
        kind(
            "Silence alone",
            "silent",
            np.zeros(COUNT),
            verdict=NAMED,
            words="silent: below -60 dBFS",
        ),
        kind(
            "Shorter than a frame",
            "frame",
            _pcm(98)[:100],
            verdict=NAMED,
            words="too short: 0.006 s",
        ),
        kind("Shorter than a prompt", "short", _pcm(100)[:8000]),
        kind("No samples", "none", np.zeros(0), verdict=NAMED, words="too short: 0.000 s"),
        kind(
            "NaN among float samples", "nan", holes[0], subtype="FLOAT", verdict=NAMED, words=finite
        ),
        kind(
            "Infinity among float samples",
            "inf",
            holes[1],
            subtype="FLOAT",
            verdict=NAMED,
            words=finite,
        ),
        kind("Clipped, floats up to 4", "clipped", 20 * _pcm(101) / 32768, subtype="FLOAT"),
        kind("Stereo", "stereo", six[:, :2]),
        kind("6 channels", "six", six),
        kind("4 kHz", "4k", at(4000, 102), 4000),
        kind("8 kHz", "8k", at(8000, 103), 8000),
        kind("44.1 kHz", "44k", at(44100, 104), 44100),
        kind("96 kHz", "96k", at(96000, 105), 96000),
        kind("192 kHz", "192k", at(192000, 106), 192000),
        Kind(
            "3 Hz, by its header",
            "sounds/3.wav",
            slow[:24] + struct.pack("<I", 3) + slow[28:],
            NAMED,
            "sample rate 3 Hz is outside",
        ),
    ]


def _lists() -> list[Kind]:
    kinds = []
    for number, (name, (text, _, _)) in enumerate(ODD.items()):

        def put(path, name=name, text=text, number=number):
            path.write_bytes(riff(_pcm(110 + number).tobytes()))
            (path.parent / name).write_text(text)

        what = f"Beside it `{name}` with a line that says nothing"
        kinds.append(Kind(what, f"lists/{number}/good.wav", put))

    def beside(path):
        path.write_bytes(riff(_pcm(119).tobytes()))
        path.with_suffix(".txt").write_text("what is said\n")

    return [*kinds, Kind("Beside it a text of its own name", "lists/own/own.wav", beside)]
