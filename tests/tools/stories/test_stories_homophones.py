# ruff: noqa: RUF001
"""Spellings that sound alike, by a lexicon of a few words."""

from tools.stories.homophones import Homophone, homophones

SOUNDS = {
    "pear": "pˈɛɹ",
    "pears": "pˈɛɹz",
    "ate": "ˈAt",
    "eight": "ˈAt",
    "red": "ɹˈɛd",
    "sara": "sˈɑɹɹə",
}
SOUNDS |= {"baked": "bˈAkt", "bake": "bˈAk", "reed": "ɹˈid", "a": "ɐ"}
SAID = {"baiked": "bˈAkɪd", "pairs": "pˈɛɹz", "pares": "pˈɛɹz"} | SOUNDS
LEXICON = [
    ("pear", "pˈɛɹ"),
    ("pair", "pɛɹ"),
    ("pare", "pˈɛɹ"),
    ("read", "ɹˈid"),
    ("read", "ɹˈɛd"),
    ("ate", "ˈɛt"),
    ("ate", "ˈAt"),
    ("red", "ɹˈid"),  # a second sound of a word of the world: not counted
    ("baike", "bˈAk"),
    ("dog", "dˈɔɡ"),
    ("sarah", "sˈɛɹə"),
]
NAMES = {"sarah": "sara", "jayne": "jane"}


def test_all_spellings_with_the_sound_of_a_word():
    found = homophones(SOUNDS, SAID.__getitem__, LEXICON, NAMES)
    assert found == [
        Homophone("ate", "eight"),
        Homophone("baike", "bake"),
        Homophone("eight", "ate"),
        Homophone("pair", "pear"),
        Homophone("pairs", "pears"),
        Homophone("pare", "pear"),
        Homophone("pares", "pears"),
        Homophone("read", "reed"),  # its first sound first
        Homophone("read", "red"),
        Homophone("sarah", "sara"),
    ]


def test_a_world_without_them():
    assert homophones(["red"], SAID.__getitem__, [("red", "ɹˈɛd")], NAMES) == []
