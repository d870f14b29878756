"""A folder of all kinds of `support.odd_kinds`, and the page that tells what becomes of each.

`python tests/support/odd_folder.py` writes docs/guide/odd_files.md anew, from the repository's root
with PYTHONPATH=.:tests.
"""

import sys
import tempfile
from pathlib import Path

from audiolm_jax.audio.names import shown
from audiolm_jax.data.index import ClipIndex, index_folder
from audiolm_jax.data.sources import AudioDataConfig
from support.odd_kinds import GOOD, NAMED, NOTED, Kind, all_kinds

PAGE = Path("docs/guide/odd_files.md")
HEAD = """# What is read, and what is named

One row for each kind of file that `tests/cli/test_odd_folder.py` puts into one folder: what
`audiolm audit`, `train` and `tokenize` do with it, and in which words. What is used is used to its
last sample, or not at all; what is not used ends no run, and each command says once how much that
was and why. `audiolm codec` reads the same files of a folder, also what is short or silent; its
exit status is 2 if one fails. This page is made by that test: do not edit it.

| kind | verdict | words |
|---|---|---|
"""


def make(root: Path, kinds: list[Kind]) -> None:
    """Puts all of it there."""
    for kind in kinds:
        path = root / kind.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(kind.put, bytes):
            path.write_bytes(kind.put)
        else:
            kind.put(path)


def measured(index: ClipIndex, kind: Kind) -> tuple[str, str]:
    """Verdict and words of the audit; AssertionError if there are two, or samples are missing."""
    path = shown(kind.name)
    words = "; ".join(note.reason for note in index.notes if note.path == path)
    places = (path, path.rpartition("/")[0])  # a folder may be left out as a whole
    reasons = [bad.reason for bad in index.bad if bad.path in places]
    clips = [clip for clip in index.clips if clip.path == path]
    assert len(reasons) + len(clips) == 1, (kind.name, reasons, clips)
    if reasons:
        return NAMED, reasons[0]
    (clip,) = clips
    assert clip.source_rate_hz == kind.rate_hz
    assert 0 <= clip.source_samples - kind.samples <= 4096 * kind.is_padded, kind.what
    return (NOTED if words else GOOD), words


def page(rows: list[tuple[Kind, str, str]]) -> str:
    """The guide's page."""
    return HEAD + "".join(
        f"| {kind.what} | {verdict} | {words} |\n" for kind, verdict, words in rows
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = all_kinds()
        make(Path(folder), made)
        found = index_folder(AudioDataConfig(folder))
        rows = [(k, *((NAMED, k.words) if k.needs_user else measured(found, k))) for k in made]
        PAGE.write_text(page(rows))
    sys.stdout.write(f"{PAGE}\n")
