"""Lists of transcripts and speakers with lines that say nothing."""

# File name -> (its text about good.wav, how many lines are not understood, the first of them).
ODD = {
    "transcripts.txt": ("good: yes\nprose\n: nobody\nother: no\n", 2, "2: 'prose'"),
    "x.trans.txt": ("good yes\nalone\n", 1, "2: 'alone'"),
    "text": ("good yes\nalone\n", 1, "2: 'alone'"),
    "metadata.csv": ("good|yes\nalone\n", 1, "2: 'alone'"),
    "metadata.tsv": ("path\ttext\ngood\tyes\nalone\n", 1, "3: 'alone'"),
    "train.tsv": ("client_id\tpath\tsentence\n\tgood.wav\tyes\na\tb\n", 1, "3: 'a\\tb'"),
    "SPEAKERS.TXT": ("84 | F | x\nalone\n", 1, "2: 'alone'"),
    "utt2spk": ("good me\nalone\n", 1, "2: 'alone'"),
}
