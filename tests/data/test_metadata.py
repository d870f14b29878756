"""Who says what: the layouts and lists of the usual corpora, and lines that say nothing."""

import json
import shutil

import pytest
from support.odd_lists import ODD

from audiolm_jax.data.metadata import read_metadata


def found(root, files, **lists):
    """Metadata of empty recordings `files` beside the files `lists`, given by path."""
    for name, text in lists.get("lists", {}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_metadata(root, files, list(lists.get("lists", {})))


def columns(metadata, *names):
    return {path: tuple(row.get(n, "") for n in names) for path, row in metadata.rows.items()}


LIBRI = "LibriSpeech/train-clean-100/84/121123/84-121123"
LIBRI_DEV = "LibriSpeech/dev-other/116/288045/116-288045"
CV = "client_id\tpath\tsentence_id\tsentence\tage\tgender\taccents\tlocale"
LAYOUTS = {
    "librispeech": (
        {
            f"{LIBRI}.trans.txt": "84-121123-0000 GO DO YOU HEAR\n84-121123-0001 BUT\n",
            f"{LIBRI_DEV}.trans.txt": "116-288045-0000 AS I APPROACHED\n",
            "LibriSpeech/SPEAKERS.TXT": ";ID |SEX| SUBSET |MINUTES| NAME\n"
            "84   | F | dev-clean        |  8.02 | Christie Nowak\n"
            "116  | M | dev-other        |  8.11 | A | B\n",
        },
        {
            f"{LIBRI}-0000.flac": ("84", "GO DO YOU HEAR", "train-clean-100", "", "female", ""),
            f"{LIBRI}-0001.flac": ("84", "BUT", "train-clean-100", "", "female", ""),
            f"{LIBRI_DEV}-0000.flac": ("116", "AS I APPROACHED", "dev-other", "", "male", ""),
        },
    ),
    "librilight": (
        {"small/100/sea_fairies_0812_librivox_64kb_mp3/01_baum_sea_fairies_64kb.json": "{}"},
        {
            "small/100/sea_fairies_0812_librivox_64kb_mp3/01_baum_sea_fairies_64kb.flac": (
                *("100", "", "", "", "", ""),
            )
        },
    ),
    "mls": (
        {
            "mls_polish/train/transcripts.txt": "6892_10049_000000\tna wprost: teatru\n",
            "mls_polish/dev/transcripts.txt": "54_3_000001\tproza\n",
            "mls_polish/metainfo.txt": " SPEAKER | GENDER | PARTITION | MINUTES | BOOK ID | T | C\n"
            " 6892    |    M   |  train  | 29.1 | 10049 | a | b\n",
        },
        {
            "mls_polish/train/audio/6892/10049/6892_10049_000000.flac": (
                *("6892", "na wprost: teatru", "train", "polish", "male", ""),
            ),
            "mls_polish/dev/audio/54/3/54_3_000001.opus": ("54", "proza", "dev", "polish", "", ""),
        },
    ),
    "ljspeech": (
        {"metadata.csv": "LJ001-0001|In 1455, he|In fourteen, he\nLJ001-0002|being|being\n"},
        {
            "wavs/LJ001-0001.wav": ("LJ", "In fourteen, he", "", "", "", ""),
            "wavs/LJ001-0002.wav": ("LJ", "being", "", "", "", ""),
        },
    ),
    "ljspeech_like": (
        {"metadata.csv": "a1|hello: there\n"},
        {"wavs/a1.wav": ("", "hello: there", "", "", "", "")},
    ),
    "vctk": (
        {
            "txt/p225/p225_001.txt": "Please call Stella.\n",
            "txt/s5/s5_002.txt": "Ask her.",
            "speaker-info.txt": "ID  AGE  GENDER  ACCENTS  REGION COMMENTS\n"
            "p225  23  F    English    Southern  England\ns5  24  M  British\n",
        },
        {
            "wav48_silence_trimmed/p225/p225_001_mic1.flac": (
                *("p225", "Please call Stella.", "", "", "female", "English"),
            ),
            "wav48_silence_trimmed/p225/p225_001_mic2.flac": (
                *("p225", "Please call Stella.", "", "", "female", "English"),
            ),
            "wav48/s5/s5_002.wav": ("s5", "Ask her.", "", "", "male", "British"),
            "wav48/s5/s5_003.wav": ("s5", "", "", "", "male", "British"),
        },
    ),
    "vctk_0.80": (
        {"speaker-info.txt": "ID  AGE  GENDER  ACCENTS  REGION\n225  23  F  English  Southern\n"},
        {"wav48/p225/p225_001.wav": ("p225", "", "", "", "female", "English")},
    ),
    "common_voice": (
        {
            "en/train.tsv": f"{CV}\nab1\tcommon_voice_en_1.mp3\ts1\t"
            '"Hi," he said.\t\tmale_masculine\tUS\ten\n',
            "en/test.tsv": f"{CV}\nab2\tcommon_voice_en_2.mp3\ts2\tBye\t\t\t\ten\n",
            "en/validated.tsv": f"{CV}\nab3\tcommon_voice_en_3.mp3\ts3\tOh\t\t\t\ten\n",
            "en/invalidated.tsv": f"{CV}\nab4\tcommon_voice_en_4.mp3\ts4\tWrong\t\t\t\ten\n",
            "en/clip_durations.tsv": "clip\tduration[ms]\ncommon_voice_en_1.mp3\t99\n",
        },
        {
            "en/clips/common_voice_en_1.mp3": (
                *("ab1", '"Hi," he said.', "train", "en", "male", "US"),
            ),
            "en/clips/common_voice_en_2.mp3": ("ab2", "Bye", "test", "en", "", ""),
            "en/clips/common_voice_en_3.mp3": ("ab3", "Oh", "", "en", "", ""),
            "en/clips/common_voice_en_4.mp3": ("ab4", "", "", "en", "", ""),
            "en/clips/common_voice_en_5.mp3": ("", "", "", "", "", ""),
        },
    ),
    "kaldi": (
        {
            "data/train/text": "ann-1 HELLO THERE\nbob-1\tHI\nanna7 SEVEN\n",
            "data/train/utt2spk": "ann-1 ann\nbob-1 bob\nanna7 anna\n",
            "data/train/spk2gender": "ann f\nbob m\n",
            "data/train/wav.scp": "ann-1 /elsewhere/corpus/ann/1.wav\n"
            "bob-1 flac -c -d -s corpus/bob/1.flac |\n",
        },
        {
            "corpus/ann/1.wav": ("ann", "HELLO THERE", "", "", "female", ""),
            "corpus/bob/1.flac": ("bob", "HI", "", "", "male", ""),
            "corpus/anna7.wav": ("anna", "SEVEN", "", "", "", ""),
        },
    ),
    "stories": (
        {
            "metadata.tsv": "path\tspeaker\tengine\taccent\tsex\tstory\tseconds\tsplit\n"
            "train/hibari_01/7.flac\thibari_01\thibari\tUS\tf\t7\t20.1\ttrain\n"
            "heldout_both/flite_rms/4.flac\tflite_rms\tflite\tUS\tm\t4\t9.0\theldout_both\n",
            "train/hibari_01/transcripts.txt": "7: Once: a cat.\n",
        },
        {
            "train/hibari_01/7.flac": ("hibari_01", "Once: a cat.", "train", "", "female", "US"),
            "heldout_both/flite_rms/4.flac": ("flite_rms", "", "heldout_both", "", "male", "US"),
        },
    ),
    "a_table_with_commas": (
        {"metadata.csv": 'file_name,transcription\nann/a.wav,"One, two"\n'},
        {"ann/a.wav": ("ann", "One, two", "", "", "", "")},
    ),
    "texts_beside": (
        {"ann/a.txt": "one\ntwo\n", "ann/b.normalized.txt": "b", "README.txt": "c"},
        {
            "ann/a.wav": ("ann", "one two", "", "", "", ""),
            "ann/b.wav": ("ann", "b", "", "", "", ""),
        },
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout(tmp_path, name):
    lists, expected = LAYOUTS[name]
    metadata = found(tmp_path, list(expected), lists=lists)
    assert metadata.odd == ()
    named = columns(metadata, "speaker", "text", "split", "language", "gender", "accent")
    assert named == expected


@pytest.mark.parametrize("part", ["train-clean-100", "dev-clean"])
def test_a_part_of_a_corpus_is_one(tmp_path, part):
    """The audio folder may be any folder of a corpus, down to that of the speakers."""
    metadata = found(tmp_path / part, ["84/121123/84-121123-0000.flac", "84/x.flac"])
    assert columns(metadata, "speaker", "split")["84/121123/84-121123-0000.flac"] == ("84", part)
    assert metadata.rows["84/x.flac"] == {"speaker": "84"}


def test_transcripts_txt_has_any_of_three_separators(tmp_path):
    lines = "\ufeff; a comment\n\na: one: two|x\r\nb\tone: two\nc|one: two\td\nd.wav: six\n"
    metadata = found(tmp_path, [f"{n}.wav" for n in "abcd"], lists={"transcripts.txt": lines})
    texts = [row["text"] for row in metadata.rows.values()]
    assert texts == ["one: two|x", "one: two", "one: two\td", "six"]
    assert not metadata.odd


@pytest.mark.parametrize("name", ODD)
def test_lines_that_are_not_understood_are_counted_and_the_rest_is_read(tmp_path, name):
    text, count, first = ODD[name]
    metadata = found(tmp_path, ["good.wav"], lists={name: text})
    (odd,) = [odd for odd in metadata.odd if not odd.is_elsewhere]
    assert str(odd) == f"{name}: {count} lines not understood, such as {first}"
    if "yes" in text:
        assert metadata.rows["good.wav"]["text"] == "yes"
    elsewhere = [odd for odd in metadata.odd if odd.is_elsewhere]
    if name == "transcripts.txt":
        (odd,) = elsewhere
        assert str(odd) == f"{name}: 1 lines about no recording here, such as 4: 'other: no'"


def test_lists_that_cannot_be_read_are_named(tmp_path):
    latin = "a: caf\xe9\n".encode("latin-1")
    wide = "a: caf\xe9\n".encode("utf-16")
    metadata = found(
        tmp_path, ["a.wav"], lists={"x/transcripts.txt": latin, "transcripts.txt": wide}
    )
    assert metadata.rows["a.wav"]["text"] == "caf\xe9"
    assert [str(odd) for odd in metadata.odd] == ["x/transcripts.txt: not read: not UTF-8 text"]
    shutil.rmtree(tmp_path / "x")
    (tmp_path / "gone.tsv").symlink_to("nowhere")
    metadata = read_metadata(tmp_path, ["a.wav"], ["gone.tsv", "metadata.tsv"])
    assert {odd.path for odd in metadata.odd} == {"gone.tsv", "metadata.tsv"}
    assert all("No such file" in odd.reason for odd in metadata.odd)


def test_a_name_that_several_recordings_have_names_none(tmp_path):
    """Unless it says the folder, or lies in it."""
    files = ["ann/1.wav", "bob/1.wav", "bob/2.wav", "cid/3.wav"]
    lists = {"metadata.csv": "1|whose\nbob/1|his\n2|two\n", "ann/transcripts.txt": "3: not hers\n"}
    metadata = found(tmp_path, files, lists=lists)
    texts = [row.get("text") for row in metadata.rows.values()]
    assert texts == [None, "his", "two", None]
    assert [(odd.path, odd.count) for odd in metadata.odd] == [
        ("metadata.csv", 1),
        ("ann/transcripts.txt", 1),
    ]


def test_the_nearest_list_is_believed(tmp_path):
    lists = {"ann/transcripts.txt": "1: near\n", "metadata.csv": "ann/1|far\n"}
    assert found(tmp_path, ["ann/1.wav"], lists=lists).rows["ann/1.wav"]["text"] == "near"


def test_both_forms_of_a_letter_with_an_accent_are_one(tmp_path):
    metadata = found(tmp_path, ["e\u0301.wav"], lists={"transcripts.txt": "\xe9: yes\n"})
    assert metadata.rows["e\u0301.wav"]["text"] == "yes"


def test_other_tables_are_left_alone(tmp_path):
    lists = {"._transcripts.txt": "x", "._a.trans.txt": b"\x00\x05", ".x.tsv": "client_id\tpath\nx"}
    lists |= {"alignments.tsv": "file\tphone\na\tb\n", "world.tsv": "x\n", "notes.txt": "a\n"}
    metadata = found(tmp_path, ["a.wav"], lists=lists)
    assert metadata.rows == {"a.wav": {"speaker": ""}}
    assert not metadata.odd


def test_maestro(tmp_path):
    """Its list names composer, piece and official part; no folder of a year is a voice."""
    head = "canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration"
    rows = [
        '"Alban Berg","Sonata, Op. 1",train,2018,2018/MIDI-A.midi,2018/MIDI-A_wav--1.wav,698.6',
        "Franz Liszt,Etude,validation,2004,2004/ORIG-MIDI_1.midi,2004/ORIG-MIDI_1.wav,9.5",
        "Franz Liszt,Etude,test,2004,2004/MIDI-C.midi,2004/MIDI-C.wav,9.5",
    ]
    files = ["2018/MIDI-A_wav--1.wav", "2004/ORIG-MIDI_1.wav"]
    lists = {"maestro-v3.0.0.csv": "\n".join([head, *rows]), "maestro-v3.0.0.json": "{}"}
    lists["other-v3.0.0.csv"] = "\n".join([head, rows[0].replace("Berg", "Wrong")])
    metadata = found(tmp_path, files, lists=lists)
    names = ("speaker", "split", "canonical_composer", "canonical_title", "year")
    assert columns(metadata, *names) == {
        files[0]: ("", "train", "Alban Berg", "Sonata, Op. 1", "2018"),
        files[1]: ("", "validation", "Franz Liszt", "Etude", "2004"),
    }
    (odd,) = metadata.odd
    assert (odd.path, odd.count, odd.is_elsewhere) == ("maestro-v3.0.0.csv", 1, True)


def test_the_json_beside_recordings_of_librilight(tmp_path):
    """What it tells are columns; no other JSON counts, and what is damaged is named."""
    book = {"id": "2512", "title": "Sea\nFairies", "meta_genre": "Literature"}
    book |= {"language": "English", "authors": [{"id": 1}], "totaltimesecs": 9}
    whole = {"speaker": "100", "book_meta": book, "snr": 7.25, "voice_activity": [[0.5, 2]]}
    base = "large/100/sea_fairies_64kb_mp3"
    lists = {
        f"{base}/01_sea.json": json.dumps(whole),
        f"{base}/02_sea.json": json.dumps({"book_meta": {}, "snr": None}),
        f"{base}/03_sea.json": "{",
        f"{base}/04_sea.json": json.dumps([whole]),
        f"{base}/nobody.json": json.dumps(whole),
    }
    files = [f"{base}/0{n}_sea.flac" for n in range(1, 5)]
    metadata = found(tmp_path, files, lists=lists)
    known = columns(metadata, "speaker", "snr", "book", "title", "genre", "language", "text")
    empty = ("100", *[""] * 6)
    first = ("100", "7.25", "2512", "Sea\nFairies", "Literature", "English", "")
    assert known == dict(zip(files, [first, empty, empty, empty], strict=True))
    assert [str(odd) for odd in metadata.odd] == [f"{base}/03_sea.json: not JSON"]
    assert metadata.lists == ()
