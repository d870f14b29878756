"""What the corpus says about itself."""

README = """Piano: scores in the public domain, played by a program
=======================================================

All of this is SYNTHETIC: no pianist played it. Rules turned scores into performances, a synthesizer
played these on sampled pianos, and a simulated room was added. Results do not carry over to
recordings of pianists.

Folders ({rate_hz} Hz, mono, 16 bit, FLAC; one file is one whole performance):

    train/      what a model may learn from; later performances of a piece are transposed
    heldout/    pieces of which training has no performance, as written

Beside each recording lies what was played, as MIDI: for judgement alone, no training reads it.
metadata.tsv has a row a file; skipped.tsv names the scores that are not here, and why.

What was done to the scores: strings, voices and songs are reduced to what two hands can strike
(column left_out: notes that they cannot); tunes, which are one line, have a left hand that a
program added; grace notes and ornaments are not played; repeats are as the column says.

Scores: the corpus of music21 10.5.1, and their licences:

{licences}

Pianos (column soundfont), through fluidsynth:

{pianos}
"""
