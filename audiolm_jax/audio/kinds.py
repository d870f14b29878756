"""What a file is by its first bytes, whatever it is called."""

# (offset, bytes, what it is, the suffix that reads it or "")
_MAGIC = [
    (0, b"RIFX", "a big-endian RIFX file", ""),
    (8, b"WAVE", "a wav file", ".wav"),
    (0, b"riff\x2e\x91\xcf\x11", "a Wave64 file", ".w64"),
    (0, b"fLaC", "a FLAC file", ".flac"),
    (0, b"OggS", "an Ogg file", ".ogg"),
    (4, b"ftyp", "an MP4 file", ".m4a"),
    (8, b"AIF", "an AIFF file", ""),
    (8, b"AVI ", "an AVI file", ""),
    (0, b".snd", "an AU file", ""),
    (0, b"caff", "a CAF file", ""),
    (0, b"#!AMR", "an AMR file", ""),
    (0, b"NIST_1A", "a NIST SPHERE file", ""),
    (0, b"wvpk", "a WavPack file", ""),
    (0, b"MAC ", "a Monkey's Audio file", ""),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM file", ""),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a WMA file", ""),
    (0, b"MThd", "a MIDI file", ""),
    (0, b"\0\x05\x16\x07", "an AppleDouble file of macOS, which holds no sound,", ""),
    (0, b"%PDF", "a PDF file", ""),
    (0, b"PK\3\4", "a zip archive", ""),
    (0, b"\x1f\x8b\x08", "a gzip archive", ""),
    (0, b"\x89PNG", "a PNG image", ""),
    (0, b"\xff\xd8\xff", "a JPEG image", ""),
]
_SAME = {".opus": ".ogg"}
# Suffixes of sound, and of films with it, that no reader here is for.
UNREAD = {".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".avi", ".caf", ".m4b"}
UNREAD |= {".mka", ".mkv", ".mov", ".mp2", ".mp4", ".oga", ".ra", ".snd", ".sph", ".spx", ".weba"}
UNREAD |= {".webm", ".wma", ".wv"}


def mislabelled(head: bytes, suffix: str) -> str | None:
    """What a file really is and what to do, None if its first bytes may be what the suffix says."""
    start = id3_bytes(head)
    known = [entry for entry in _MAGIC if head[start + entry[0] :].startswith(entry[1])]
    if known:
        kind, real = known[0][2:]
    else:
        if all(byte in b"\t\n\f\r" or 32 <= byte < 127 for byte in head):
            return f"not audio: it is a text file named {suffix}; remove it or put the audio there"
        adts = (
            head[start : start + 1] == b"\xff"
            and head[start + 1 : start + 2] in b"\xf0\xf1\xf8\xf9"
        )
        if adts and len(head) > start + 1:
            kind, real = "an AAC (ADTS) file", ""
        elif suffix in (".wav", ".w64", ".flac") and _is_mpeg(head, start):
            kind, real = "an MP3 file", ".mp3"
        else:
            return None
    if real == _SAME.get(suffix, suffix) or {real, suffix} == {".wav", ".w64"}:
        return None
    remedy = f"rename it to end in {real}" if real else "convert it to flac or wav, or remove it"
    return f"is {kind} named {suffix}; {remedy}"


def id3_bytes(head: bytes) -> int:
    """Length of the ID3v2 tag that bytes begin with, 0 without."""
    if head[:3] != b"ID3" or len(head) < 10 or head[3] > 4 or max(head[6:10]) > 127:
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte
    return 10 + size + (10 if head[5] & 16 else 0)


def _is_mpeg(head: bytes, start: int) -> bool:
    return head[:3] == b"ID3" or (head[start : start + 1] == b"\xff" and head[start + 1] >= 0xE2)
