"""Who says what in a recording: its place in a known corpus, and the lists that lie beside it.

All of it is optional. Whatever cannot be read is passed over and kept in `Metadata.odd`.
"""

import csv
import dataclasses
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from audiolm_jax.artifacts.refusals import is_shortage
from audiolm_jax.artifacts.storage import StorageError, each, is_remote
from audiolm_jax.audio.files import FORMATS
from audiolm_jax.audio.names import named

Row = dict[str, str]  # column -> value
# What the columns of a table are called, the first one that is there.
_COLUMNS = {
    "path": (
        *("path", "file", "file_name", "filename", "audio", "audio_path", "wav", "clip", "id"),
        "audio_filename",
    ),
    "text": ("text", "sentence", "transcript", "transcription", "normalized_text"),
    "speaker": ("speaker", "client_id", "speaker_id", "spk"),
    "accent": ("accent", "accents"),
    "language": ("language", "locale", "lang"),
    "gender": ("gender", "sex"),
    "split": ("split", "partition", "subset"),
}
GENDERS = {"m": "male", "f": "female", "male_masculine": "male", "female_feminine": "female"}
# S/C/S-C-... of LibriSpeech, LibriTTS and MLS; Libri-Light; VCTK; LJSpeech; Common Voice; MAESTRO.
_BOOKS = re.compile(r"(.*/|)(\d+)/(\d+)/\2[-_]\3[-_][^/]*")
_BOOK_SPLIT = re.compile(r"(?:train|dev|test)(?:-(?:clean|other)(?:-\d+)?)?")
_LIBRILIGHT = re.compile(r"(?:.*/)?(?:small|medium|large|duplicate)/(\d+)/[^/]+/[^/]+")
_VCTK = re.compile(r"(?:.*/)?([ps]\d+)/\1_\d+[^/]*")
_LJSPEECH = re.compile(r"(?:.*/)?wavs/LJ\d{3}-\d{4}\.\w+")
_COMMON_VOICE = re.compile(r"(?:.*/)?clips/common_voice_[^/]+")
_MAESTRO = re.compile(r"(?:.*/)?20\d\d/[^/]*MIDI[^/]*")
_MAESTRO_LIST = re.compile(r"maestro-v[^/]*\.csv")
_MICROPHONE = re.compile(r"_mic\d$")
_SIDECARS = (".normalized.txt", ".txt", ".lab")
_TEXT_FOLDERS = {"txt", "text", "texts", "transcript", "transcripts", "lab", "labels"}


@dataclasses.dataclass(frozen=True)
class OddLines:
    """Lines of a list that were passed over for one reason."""

    path: str  # relative to the audio folder
    reason: str
    count: int
    first: str  # "number: line", shortened; "" if the whole file is meant
    is_elsewhere: bool = False  # understood, but about recordings that are not here

    def __str__(self) -> str:
        if not self.first:
            return f"{self.path}: {self.reason}"
        return f"{self.path}: {self.count} lines {self.reason}, such as {self.first}"


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Of every recording what is known, by column; `text`, `speaker`, `accent`, `language`,
    `gender` and `split` are called so whatever the list calls them, others as they are there."""

    rows: Mapping[str, Row]  # by path relative to the audio folder; "speaker" is always there
    odd: tuple[OddLines, ...]
    lists: tuple[str, ...] = ()  # the files that were read for it


@dataclasses.dataclass(frozen=True)
class _Line:
    number: int
    key: str  # of a recording or a speaker; "": not understood
    row: Row
    text: str  # the line itself


_Reader = Callable[[str, list[str]], Iterator[_Line]]


def read_metadata(root: Path, audio: Iterable[str], others: Iterable[str]) -> Metadata:
    """Of the recordings `audio` below `root`, from their paths and the lists among `others`; a list
    deeper in the folders is believed more than one above it. Knows transcripts.txt ("stem: text",
    or with a tab or "|"), tables with a header (.tsv, .csv), metadata.csv of LJSpeech, *.trans.txt,
    Kaldi's text, utt2spk, spk2gender and wav.scp, SPEAKERS.TXT, metainfo.txt (MLS),
    speaker-info.txt (VCTK), maestro-v*.csv, and one .txt or .lab a recording, or the .json of
    Libri-Light, of which `lists` has none."""
    names = sorted(audio)
    others = sorted(name for name in others if not _last(name).startswith("."))
    top = root.resolve().name
    rows = {name: _of_path(name, f"{top}/{name}") for name in names}
    if "metadata.csv" in others:  # of LJSpeech's kind, where wavs is no folder of a voice
        for name in names:
            if name.startswith("wavs/") and rows[name]["speaker"] == "wavs":
                rows[name]["speaker"] = ""
    files, odd = _Files(names), list[OddLines]()
    of_speakers: dict[str, Row] = {}
    lists: list[str] = []
    order = {"wav.scp": -1}  # before the lists that use its names
    others = sorted(others, key=lambda n: (order.get(_last(n), n.count("/")), n))
    others = [name for name in others if _reader(_last(name)) or files.beside(name)]
    for name, data in zip(others, _contents(root, others), strict=True):
        last, folder = _last(name), name.rpartition("/")[0]
        read = _reader(last)
        is_json = name.endswith(".json")
        sidecar = [] if read else files.beside(name)
        if not is_json:  # one for each of 200,000 recordings, which nobody edits
            lists.append(name)
        try:
            if isinstance(data, OSError):
                raise data
            content = _decoded(data)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            odd.append(OddLines(name, f"not read: {reason}", 1, ""))
            continue
        if is_json and (problem := _of_librilight(content, [rows[path] for path in sidecar])):
            odd.append(OddLines(name, problem, 1, ""))
        for path in sidecar if not is_json else ():
            rows[path]["text"] = " ".join(content.split())
        strange, unknown = list[_Line](), list[_Line]()
        for line in read(name, re.split("\r\n|\r|\n", content)) if read else ():
            row = {column: value for column, value in line.row.items() if value}
            if not line.key:
                strange.append(line)
            elif last in _OF_SPEAKERS:
                of_speakers.setdefault(line.key, {}).update(row)
            elif last == "wav.scp":
                files.name(folder, line.key, row["path"])
            elif found := files.find(folder, line.key, anywhere=last in _KALDI):
                for path in found:
                    rows[path].update(row)
            else:
                unknown.append(line)
        for lines, reason in ((strange, "not understood"), (unknown, "about no recording here")):
            if lines:
                first = f"{lines[0].number}: {lines[0].text[:60]!r}"
                odd.append(OddLines(name, reason, len(lines), first, lines is unknown))
    for row in rows.values():
        for column, value in of_speakers.get(row["speaker"], {}).items():
            row.setdefault(column, value)
        if "gender" in row:
            row["gender"] = GENDERS.get(row["gender"].lower(), row["gender"].lower())
    return Metadata(rows, tuple(odd), tuple(lists))


def _of_path(path: str, full: str) -> Row:
    """By the place in a corpus; `full` begins with the name of the audio folder itself."""
    if found := _BOOKS.fullmatch(full):
        row = {"speaker": found[2]}
        for folder in found[1].split("/"):
            if _BOOK_SPLIT.fullmatch(folder):
                row["split"] = folder
            elif language := re.fullmatch(r"mls_([a-z]+)(?:_opus)?", folder):
                row["language"] = language[1]
        return row
    for pattern in (_LIBRILIGHT, _VCTK):
        if found := pattern.fullmatch(full):
            return {"speaker": found[1]}
    if _LJSPEECH.fullmatch(full):
        return {"speaker": "LJ"}
    if _COMMON_VOICE.fullmatch(full) or _MAESTRO.fullmatch(full):
        return {"speaker": ""}
    return {"speaker": first_folder(path)}


def first_folder(path: str) -> str:
    """Below the audio folder, "" for files directly in it: who speaks, if nothing else tells."""
    return path.partition("/")[0] if "/" in path else ""


def _contents(root: Path, names: list[str]) -> Iterable[bytes | OSError]:
    """Of each list; in a bucket many are asked for at a time."""

    def read(name: str) -> bytes | OSError:
        try:
            return (root / name).read_bytes()
        except StorageError:
            raise
        except OSError as error:
            if is_shortage(error):
                raise
            return error

    return each(read, names) if is_remote(root) else map(read, names)


class _Files:
    """Finds recordings by what lists call them."""

    def __init__(self, names: list[str]):
        self._by_stem, self._by_last = defaultdict[str, list[str]](list), defaultdict(list)
        self._named: dict[tuple[str, str], list[str]] = {}
        for name in names:
            stem = _stem(name)
            self._by_stem[stem].append(name)
            self._by_last[_MICROPHONE.sub("", _last(stem))].append(name)

    def name(self, folder: str, key: str, path: str) -> None:
        """What a list in `folder` calls `key` lies, or once lay, at `path`."""
        if found := self.find(folder, path, anywhere=True):
            self._named[folder, key] = found

    def find(self, folder: str, key: str, anywhere: bool = False) -> list[str]:
        """Recordings of one name that a list in `folder` means by a path, below it or below the
        audio folder, or by the name alone if that is unique below it, or `anywhere`."""
        if (folder, key) in self._named:
            return self._named[folder, key]
        if found := self._by_stem.get(_stem(f"{folder}/{named(key)}" if folder else named(key))):
            return found  # a name may have backslashes
        stem = _stem(named(key).replace("\\", "/").removeprefix("./"))
        for base in (PurePosixPath(folder), PurePosixPath()):
            if found := self._by_stem.get(str(base / stem)):
                return found
        found = self._by_last.get(_last(stem), [])
        if "/" in stem:  # an absolute path may be one of another machine
            tail = "/".join(stem.split("/")[-2:]) if stem.startswith("/") else stem
            found = [name for name in found if _stem(f"/{name}").endswith(f"/{tail}")]
        below = [name for name in found if not folder or name.startswith(f"{folder}/")]
        chosen = below or (found if anywhere else [])
        return chosen if len({_identity(name) for name in chosen}) == 1 else []

    def beside(self, name: str) -> list[str]:
        """The recordings that a text file is the transcript of, by its name: in the same folder,
        or with the same folder and name in another tree, such as VCTK's txt."""
        if name.endswith(".json"):
            return self._by_stem.get(_stem(name.removesuffix(".json")), [])
        suffix = next((suffix for suffix in _SIDECARS if name.endswith(suffix)), None)
        if suffix is None:
            return []
        stem = unicodedata.normalize("NFC", name.removesuffix(suffix))
        if found := self._by_stem.get(stem):
            return found
        folder = stem.rpartition("/")[0].rpartition("/")[2]
        found = self._by_last.get(_last(stem), [])
        if folder not in _TEXT_FOLDERS:
            found = [name for name in found if name.split("/")[-2:-1] == [folder]]
        return found if len({_identity(name) for name in found}) == 1 else []


def _identity(name: str) -> str:
    """Equal for recordings of one utterance: by several microphones, or in several trees if names
    begin with that of their folder, as ids of corpora do."""
    stem = _MICROPHONE.sub("", _stem(name))
    folder, _, last = stem.rpartition("/")
    above = folder.split("/")[-2:]
    return last if any(part and last.startswith(part) for part in above) else stem


def _stem(path: str) -> str:
    """Without the suffix of a format; letters with accents in one of their two forms."""
    suffix = PurePosixPath(path).suffix
    stem = path[: -len(suffix)] if suffix.lower() in FORMATS else path
    return unicodedata.normalize("NFC", stem.strip())


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _decoded(content: bytes) -> str:
    is_wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")  # as spreadsheets save text
    return content.decode("utf-16" if is_wide else "utf-8-sig")


def _transcripts(name: str, lines: list[str]) -> Iterator[_Line]:
    """ "stem: text", "id<TAB>text" or "id|text"; ";" begins a comment."""
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith(";"):
            key, *text = re.split(r"[\t|:]", line, maxsplit=1)
            yield _Line(number, key.strip() if text else "", {"text": "".join(text).strip()}, line)


def _pairs(column: str) -> _Reader:
    """Lines of a key, white space, and a value."""

    def read(name: str, lines: list[str]) -> Iterator[_Line]:
        for number, line in enumerate(lines, 1):
            if line.strip():
                key, _, value = line.strip().replace("\t", " ").partition(" ")
                if column == "path":  # or a command that prints the audio
                    ends = [w for w in value.split() if PurePosixPath(w).suffix.lower() in FORMATS]
                    value = ends[0] if value.endswith("|") and ends else value
                yield _Line(number, key if value else "", {column: value.strip()}, line)

    return read


def _speakers(name: str, lines: list[str]) -> Iterator[_Line]:
    """LibriSpeech's SPEAKERS.TXT, MLS's metainfo.txt and VCTK's speaker-info.txt."""
    for number, line in enumerate(lines, 1):
        is_piped = _last(name) != "speaker-info.txt"
        cells = [cell.strip() for cell in line.split("|")] if is_piped else line.split()
        if not line.strip() or line.startswith(";") or cells[0].upper() in ("SPEAKER", "ID"):
            continue
        if len(cells) < 3:
            yield _Line(number, "", {}, line)
        elif is_piped:
            yield _Line(number, cells[0], {"gender": cells[1]}, line)
        else:  # older lists leave the p of p225 out
            who = f"p{cells[0]}" if cells[0].isdecimal() else cells[0]
            accent = cells[3] if len(cells) > 3 else ""
            yield _Line(number, who, {"gender": cells[2], "accent": accent}, line)


def _table(name: str, lines: list[str]) -> Iterator[_Line]:
    """A table whose first line names its columns; without such a line, LJSpeech's metadata.csv:
    "id|text" or "id|text|the same normalized". Another table is none of ours."""
    head = lines[0] if lines else ""
    mark = next((mark for mark in "\t|," if mark in head), "")
    header = [cell.strip().strip('"').lower() for cell in head.split(mark)] if mark else []
    places = {
        column: next((header.index(known) for known in names if known in header), None)
        for column, names in _COLUMNS.items()
    }
    is_ours = _last(name).startswith("metadata.") or "client_id" in header
    is_ours |= "canonical_composer" in header
    if places["path"] is None or not is_ours:
        if _last(name) == "metadata.csv":
            for number, line in enumerate(lines, 1):
                cells = [cell.strip() for cell in line.split("|")]
                if line.strip():
                    key = cells[0] if len(cells) > 1 else ""
                    text = cells[-1] or cells[1] if key else ""
                    yield _Line(number, key, {"text": text}, line)
        elif is_ours:
            yield _Line(1, "", {}, head)
        return
    part = PurePosixPath(name).stem if "client_id" in header else ""
    official = {"split": part} if part in ("train", "dev", "test") else {}
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        # Common Voice quotes nothing, and sentences begin with quotation marks.
        cells = line.split(mark) if mark != "," else _cells(line)
        values = [cell.strip() for cell in cells]
        if len(values) != len(header):
            yield _Line(number, "", {}, line)
            continue
        row = dict(zip(header, values, strict=True)) | official
        row |= {column: values[at] for column, at in places.items() if at is not None}
        if part == "invalidated":  # listeners found another sentence in it
            row.pop("text", None)
        yield _Line(number, row.pop("path"), row, line)


def _of_librilight(content: str, rows: Iterable[Row]) -> str:
    """Adds what Libri-Light's JSON tells of a recording to its rows; why it cannot be read, "" if
    it can or is another kind of file."""
    try:
        facts = json.loads(content)
    except ValueError:
        return "not JSON"
    if not isinstance(facts, dict) or not isinstance(book := facts.get("book_meta"), dict):
        return ""
    found = {
        "speaker": facts.get("speaker"),
        "snr": facts.get("snr"),
        "book": book.get("id"),
        "title": book.get("title"),
        "genre": book.get("meta_genre"),
        "language": book.get("language"),
    }
    for row in rows:
        row |= {name: str(value) for name, value in found.items() if value not in (None, "")}
    return ""


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


_KALDI = {"text", "utt2spk", "spk2gender", "wav.scp"}
_OF_SPEAKERS = {"SPEAKERS.TXT", "metainfo.txt", "speaker-info.txt", "spk2gender"}
_READERS: dict[str, _Reader] = {
    "transcripts.txt": _transcripts,
    "text": _pairs("text"),
    "utt2spk": _pairs("speaker"),
    "spk2gender": _pairs("gender"),
    "wav.scp": _pairs("path"),
    "SPEAKERS.TXT": _speakers,
    "metainfo.txt": _speakers,
    "speaker-info.txt": _speakers,
    "metadata.csv": _table,
}


def _reader(last: str) -> _Reader | None:
    if last.endswith(".trans.txt"):
        return _READERS["text"]
    is_table = last.endswith(".tsv") or _MAESTRO_LIST.fullmatch(last)
    return _table if is_table else _READERS.get(last)
