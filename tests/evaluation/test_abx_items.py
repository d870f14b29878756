"""Item and alignment files; flite's phone times; purity of tokens."""

import shutil
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from audiolm_jax.audio.files import write_wav
from audiolm_jax.cli.items import items as items_command
from audiolm_jax.data.alignments import (
    AlignedPhone,
    find_recordings,
    read_alignments,
    write_alignments,
)
from audiolm_jax.data.flite import mix_words, parse_times, speak
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.items import (
    Item,
    is_in_part,
    read_items,
    triphones,
    write_items,
)
from audiolm_jax.evaluation.abx.phone_purity import phone_purity, purity_of

HEADER = "#file onset offset #phone prev-phone next-phone speaker\n"
FLITE = "pau:0.184 k:0.300 ae:0.532 t:0.584 s:0.584 pau:0.700"


def phone(name, onset, offset, file="f", speaker="s"):
    return AlignedPhone(file, name, Decimal(onset), Decimal(offset), speaker)


def test_published_items_are_read(tmp_path):
    path = tmp_path / "dev.item"
    path.write_text(HEADER + "6295-244435-0009 0.2925 0.4725 IH L NG 6295\n")
    item = read_items(path)[0]
    assert item == Item(
        "6295-244435-0009", Decimal("0.2925"), Decimal("0.4725"), "IH", "L", "NG", "6295"
    )
    write_items(tmp_path / "again.item", [item])
    assert (tmp_path / "again.item").read_text() == path.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b c\n", "x.item:1: header 'a b c': expected '#file onset offset #phone"),
        ("", "x.item:1: header '': expected"),
        (HEADER, "x.item: holds no items"),
        (HEADER + "f 0.1 0.2 a b c\n", "x.item:2: 'f 0.1 0.2 a b c': expected 7 fields"),
        (HEADER + "f 0 1 a b c s\nf 0.2 0.1 a b c s\n", "x.item:3: onset '0.2', offset '0.1'"),
        (HEADER + "f nan 1 a b c s\n", "x.item:2: onset 'nan', offset '1': expected seconds"),
        (HEADER + "f -1 1 a b c s\n", "x.item:2: onset '-1'"),
        (HEADER + "f zero 1 a b c s\n", "x.item:2: onset 'zero'"),
    ],
)
def test_bad_item_file(tmp_path, text, message):
    path = tmp_path / "x.item"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_items(path)
    assert "\n" not in str(error.value)


def test_items_cannot_hold_spaces(tmp_path):
    item = Item("my file", Decimal(0), Decimal(1), "a", "b", "c", "s")
    with pytest.raises(InputError, match="no place for spaces"):
        write_items(tmp_path / "x.item", [item])


def test_alignments_survive_the_file(tmp_path):
    phones = [phone("a", "0", "0.25", "my file"), phone("b", "0.25", "0.3", "my file")]
    write_alignments(tmp_path / "a.tsv", phones)
    assert read_alignments(tmp_path / "a.tsv") == phones
    (tmp_path / "a.tsv").write_text("file\tphone\tonset\toffset\tspeaker\nf\ta\t0\t1\n")
    with pytest.raises(InputError, match=r"a.tsv:2: .* expected 5 fields"):
        read_alignments(tmp_path / "a.tsv")
    with pytest.raises(InputError, match=r"missing\.tsv: cannot be read: No such file"):
        read_alignments(tmp_path / "missing.tsv")


def test_triphones():
    row = [("pau", "0", "1"), ("k", "1", "2"), ("ae", "2", "3"), ("t", "3", "4"), ("s", "4", "5")]
    row += [("ih", "5.5", "6"), ("n", "6", "7"), ("pau", "7", "8")]  # a gap before ih
    phones = [phone(*one) for one in row] + [phone("z", "0", "9", "g")]
    found = [(i.previous, i.phone, i.following, i.onset, i.offset) for i in triphones(phones[::-1])]
    assert found == [("k", "ae", "t", 1, 4), ("ae", "t", "s", 2, 5)]
    other = [phone("a", "0", "1"), phone("b", "1", "2", speaker="t"), phone("c", "2", "3")]
    assert triphones(other) == []
    with pytest.raises(InputError, match=r"f: b begins at 0\.5 s, before a ends at 1 s"):
        triphones([phone("a", "0", "1"), phone("b", "0.5", "2")])


def test_recordings_are_found_by_path_or_name(tmp_path):
    for name in ("a/x.wav", "a/y.wav", "b/y.wav", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_recordings(tmp_path, ["x", "a/y", "a/x"])
    assert found == {
        "x": tmp_path / "a/x.wav",
        "a/x": tmp_path / "a/x.wav",
        "a/y": tmp_path / "a/y.wav",
    }
    with pytest.raises(InputError, match="2 recordings of 'y': expected one"):
        find_recordings(tmp_path, ["y"])
    with pytest.raises(InputError, match="0 recordings of 'notes'"):
        find_recordings(tmp_path, ["notes"])


def test_times_of_flite():
    phones = parse_times(FLITE, "slt/001", "slt")
    assert [p.phone for p in phones] == ["pau", "k", "ae", "t", "pau"]  # s has no length
    assert [(str(p.onset), str(p.offset)) for p in phones][1:3] == [
        ("0.184", "0.300"),
        ("0.300", "0.532"),
    ]
    for bad in ("pau 0.1", "pau:x", "a:0.2 b:0.1", "", ":0.2"):
        with pytest.raises(InputError):
            parse_times(bad, "slt/001", "slt")


def test_no_two_voices_say_the_same():
    sentences = ["A cat, I think!", "The cats and the dog sat on a mat; I did not.", "Dogs."]
    mixed = {voice: mix_words(sentences, voice) for voice in ("awb", "slt")}
    plain = "a cat I think the cats and the dog sat on a mat I did not dogs"
    for lines in mixed.values():
        assert [len(line.split()) for line in lines] == [4, 12, 1]
        assert all(line.endswith(".") for line in lines)
        assert sorted(" ".join(line[:-1] for line in lines).split()) == sorted(plain.split())
    assert mixed["awb"] != mixed["slt"]
    assert mix_words(sentences, "awb") == mixed["awb"]  # whatever the other voices are


def test_command_with_a_synthesiser(tmp_path):
    """A stand-in that prints what flite prints; the real one is asked below where it is there."""
    program = tmp_path / "flite"
    program.write_text(
        '#!/bin/sh\nif [ "$1" = -lv ]; then echo "Voices available: one two "; exit; fi\n'
        f'echo "{FLITE} "\nfor out in "$@"; do :; done\n'
        f'cp {tmp_path}/tone.wav "$out"; echo "$5" >> {tmp_path}/said.txt\n'
    )
    program.chmod(0o755)
    write_wav(tmp_path / "tone.wav", np.full(1600, 0.1, np.float32), 16_000, None)
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("A cat.\n\nCats.\n")
    out = tmp_path / "out"
    flags = ["flite", str(sentences), "--out", str(out), "--flite", str(program)]
    items_command([*flags, "--voices", "one", "two"])
    files = ["one/001", "one/002", "two/001", "two/002"]
    assert [item.file for item in read_items(out / "triphones.item")] == files
    assert list(find_recordings(out, files)) == files
    spoken = mix_words(["A cat.", "Cats."], "two")
    assert (tmp_path / "said.txt").read_text().splitlines()[2:] == spoken
    assert len({(out / f"{file}.wav").read_bytes() for file in files}) == 1
    items_command(["triphones", str(out / "alignments.tsv"), "--out", str(tmp_path / "b.item")])
    assert (tmp_path / "b.item").read_text() == (out / "triphones.item").read_text()
    with pytest.raises(InputError, match="voices: 'three' is not one of flite's: one two"):
        items_command([*flags, "--voices", "three"])
    with pytest.raises(InputError, match="no such program"):
        items_command([*flags[:-1], "nowhere"])


@pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite, a Debian package")
def test_real_flite(tmp_path):
    assert mix_words(["The cat sat."], "slt") == ["cat the sat."]
    phones = speak(shutil.which("flite"), ["The cat sat."], ["slt", "rms"], tmp_path)
    assert {p.speaker for p in phones} == {"slt", "rms"}
    names = [p.phone for p in phones if p.speaker == "slt"]
    assert names == ["pau", "k", "ae", "t", "dh", "ax", "s", "ae", "t", "pau"]
    first = (tmp_path / "slt/001.wav").read_bytes()
    speak(shutil.which("flite"), ["The cat sat."], ["slt"], tmp_path)
    assert (tmp_path / "slt/001.wav").read_bytes() == first


def test_purity_by_hand():
    found = purity_of(np.array([[3, 1, 2], [0, 4, 0]]))
    assert found.phone_purity == 9 / 10  # the commonest phone of each token: 3, 4, 2
    assert found.cluster_purity == 7 / 10  # the commonest token of each phone: 3, 4
    information = sum(
        n / 10 * np.log(n * 10 / (row * column))
        for n, row, column in ((3, 6, 3), (1, 6, 5), (2, 6, 2), (4, 4, 5))
    )
    entropy = -sum(n / 10 * np.log(n / 10) for n in (6, 4))
    assert found.normalized_mutual_information == pytest.approx(information / entropy)
    assert (found.used, found.frames) == (3, 10)
    perfect = purity_of(np.diag([5, 2, 1]))
    assert (perfect.phone_purity, perfect.cluster_purity) == (1, 1)
    assert perfect.normalized_mutual_information == pytest.approx(1)
    independent = purity_of(np.outer([2, 1], [3, 5, 1]))
    assert independent.normalized_mutual_information == pytest.approx(0, abs=1e-12)
    assert purity_of(np.array([[2, 3]])).normalized_mutual_information is None


def test_purity_takes_the_phone_at_each_frames_time():
    phones = [phone("a", "0", "0.03"), phone("b", "0.03", "0.07")]
    codes = {"f": np.array([0, 1, 1, 2])}  # times 0.01, 0.03, 0.05; 0.07 is in no phone
    found = phone_purity(codes, Fraction(50), phones)
    assert (found.frames, found.used, found.phone_purity) == (3, 2, 1.0)
    with pytest.raises(InputError, match="g: has phones but no tokens"):
        phone_purity(codes, Fraction(50), [phone("a", "0", "1", "g")])
    with pytest.raises(InputError, match="no frame lies within a phone"):
        phone_purity(codes, Fraction(50), [phone("a", "5", "6")])


def test_choice_and_report_share_no_sentence_and_are_all():
    sentences = [f"{number:04d}" for number in range(400)]
    halves = {
        part: {s for s in sentences if is_in_part(f"voice/{s}", part)}
        for part in ("choice", "report", "all")
    }
    assert halves["choice"].isdisjoint(halves["report"])
    assert halves["choice"] | halves["report"] == halves["all"] == set(sentences)
    assert 150 < len(halves["choice"]) < 250
    for part, half in halves.items():  # whoever speaks it
        assert half == {s for s in sentences if is_in_part(f"other/voices/{s}", part)}
