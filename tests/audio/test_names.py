"""A path in any bytes is one line of text that tells the path."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiolm_jax.audio.names import file_name, named, one_line, shown


@given(st.binary(max_size=30).map(lambda raw: os.fsdecode(raw.replace(b"\0", b""))))
def test_shown_is_one_line_of_utf8_that_names_the_path(path):
    text = shown(path)
    text.encode()
    assert len(text.splitlines()) <= 1
    assert named(text) == path
    assert shown(text) != text or text == path  # no two paths share a text
    assert text.count("/") == path.count("/")


@pytest.mark.parametrize("path", ["a/b.wav", "caf\u00e9 #1.wav", "back\\slash\\x.wav", ""])
def test_most_paths_are_their_own_text(path):
    assert shown(path) == path


@given(st.binary(max_size=30).map(os.fsdecode))
def test_words_with_paths_are_one_line_and_shown_once(text):
    line = one_line(f"out/{text}: done")
    line.encode()
    assert len(line.splitlines()) == 1
    assert one_line(line) == line
    assert "\\" in text or line == f"out/{shown(text)}: done"


def test_odd_bytes_are_spelled_out():
    assert shown(os.fsdecode(b"x/caf\xe9\n.wav")) == r"x/caf\xe9\x0a.wav"
    assert shown(r"\xe9.wav") == r"\x5cxe9.wav"


def test_names_of_files_are_legible_and_different():
    names = [file_name(text) for text in ("a/b.wav", "a_b.wav", "a#b.wav", chr(233) * 99)]
    assert len(set(names)) == 4
    assert names[0].startswith("a_b_wav_")
    assert all(name.isascii() and len(name) < 80 for name in names)
