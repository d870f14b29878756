"""Scores minimal pairs and writes the table."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.hashing import file_sha256, fingerprint
from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.run_folder import fingerprint_of, model_folder
from audiolm_jax.artifacts.storage import at
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.lifecycle import Evaluation
from audiolm_jax.evaluation.page.tables import Table, percent

logger = logging.getLogger(__name__)

_NGRAMS = {1: "unigram", 2: "bigram", 5: "5-gram"}  # by order

_NOTE = (
    "Share of pairs, in percent, whose right member scores higher; equal scores count one half. "
    "Chance is 50. In brackets the 95 % interval of {draws} bootstrap draws over pairs. A score is "
    "the sum of the log-probabilities of an utterance's semantic tokens, as the stage counts them, "
    "or their mean per token."
)


@dataclasses.dataclass(frozen=True)
class PairsExperiment(Evaluation):
    """Ask a semantic stage which utterance of each pair is likelier (sWUGGY, sBLIMP, cloze)."""

    page: ClassVar[str] = "pairs.md"
    record: ClassVar[str] = "pairs.json"

    directory: Place
    """Where pairs.md, pairs.json and scores.tsv go."""
    pairs: Place
    """Table of pairs, or folder of ZeroSpeech 2021 with lexical/ and syntactic/ or one of them, or
    of spoken StoryCloze with sSC/ and tSC/ or one of them."""
    semantic_lm: Place
    """Run or model folder of a semantic stage, or a bundle."""
    semantic: Place = ""
    """Run or model folder of the semantic tokenizer, or a bundle; empty for that of the stage's
    bundle."""
    tokens: Place = ""
    """Token store whose training tokens a unigram, a bigram and a 5-gram count; empty for none."""
    part: str = "dev"
    """Of ZeroSpeech's folders: dev or test."""
    batch_size: int = 16
    """Utterances that go through a model together."""
    seed: int = 0
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"--batch-size {self.batch_size}: expected 1 or more")

    def _folder(self, part: str) -> Path:
        """Of the model of a part."""
        from audiolm_jax.artifacts.run_folder import BUNDLE_JSON

        place = at((self.semantic if part == "semantic" else "") or self.semantic_lm)
        if (place / BUNDLE_JSON).is_file():
            return place / part
        if part == "semantic" and not self.semantic:
            raise InputError(f"{place}: no bundle; name the semantic tokenizer in --semantic")
        return model_folder(place)

    def upstream(self) -> dict[str, str]:
        """Fingerprints of the stage and its tokenizer."""
        return {part: fingerprint_of(self._folder(part)) for part in ("semantic_lm", "semantic")}

    def facts(self) -> dict[str, Any]:
        """Fingerprints of models and token store, hashes of the tables."""
        from audiolm_jax.data.tokens.store import TokenStore
        from audiolm_jax.evaluation.pairs.pairs import tables_of

        tables = tables_of(at(self.pairs), self.part)
        for table in tables.values():
            if not table.is_file():
                raise InputError(f"{table}: not found; pairs need it")
        return {
            "models": self.upstream(),
            "tokens": TokenStore.open(self.tokens).fingerprint if self.tokens else None,
            "tables": {kind: file_sha256(table) for kind, table in tables.items()},
        }

    def data_facts(self) -> dict[str, Any]:
        """Of the utterances."""
        from audiolm_jax.evaluation.pairs.pairs import hashes_of, read_pairs

        return {"fingerprint": fingerprint(hashes_of(read_pairs(at(self.pairs), self.part)))}

    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Scores every utterance once; writes scores.tsv and pairs.md."""
        from audiolm_jax.artifacts.model_folder import load_model
        from audiolm_jax.data.tokens.store import TokenStore
        from audiolm_jax.evaluation.measures.bootstrap import RESAMPLES
        from audiolm_jax.evaluation.measures.ngram import NgramModel
        from audiolm_jax.evaluation.pairs.accuracy import outcomes, tabulate
        from audiolm_jax.evaluation.pairs.pairs import hashes_of, read_pairs
        from audiolm_jax.evaluation.pairs.scores import StageScorer, tokenize, totals
        from audiolm_jax.generation.bundle import stage_model
        from audiolm_jax.lm.config import KIND
        from audiolm_jax.tokenizers.semantic.tokenizer import load_semantic_tokenizer

        pairs = read_pairs(at(self.pairs), self.part)
        folder = self._folder("semantic_lm")
        stage = stage_model(load_model(folder, KIND), str(folder), "semantic")
        config = stage.config.stage
        tokenizer = load_semantic_tokenizer(self._folder("semantic"))
        self._check_origin(folder, stage.folder.provenance["semantic"], tokenizer.fingerprint)
        store = TokenStore.open(self.tokens) if self.tokens else None
        if store:
            origin = store.provenance.semantic_fingerprint
            self._check_origin(Path(self.tokens), origin, tokenizer.fingerprint)
        paths = list(dict.fromkeys(path for pair in pairs for path in (pair.good, pair.bad)))
        logger.info("%s: %d pairs of %d files", self.pairs, len(pairs), len(paths))
        found = tokenize(paths, tokenizer, config, self.batch_size)
        sequences = [found[path] for path in paths]
        scored = {"model": StageScorer(stage, self.batch_size)(sequences)}
        if store:
            ngrams = NgramModel(store.sequences("train", config), config, max(_NGRAMS))
            by_order = ngrams.losses(sequences)
            for order, name in _NGRAMS.items():
                scored[name] = [-nats for nats in by_order[order - 1]]
        table = totals(scored)
        places = {path: place for place, path in enumerate(paths)}
        good, bad = ([places[path] for path in side] for side in _sides(pairs))
        results = {name: outcomes(own[good], own[bad]) for name, own in table.items()}
        rows = tabulate(pairs, results, self.seed)
        tokens = [len(own) for own in scored["model"]]
        _write_scores(Path(self.directory) / "scores.tsv", at(self.pairs), paths, tokens, table)
        for row in rows:
            if not row.group:
                accuracy = row.accuracies["model, per token"]
                logger.info(
                    "%s: %.2f %% (%.2f to %.2f) of %d pairs by log-probability per token",
                    *(row.kind, 100 * accuracy.mean, 100 * accuracy.low, 100 * accuracy.high),
                    row.pairs,
                )
        cells = [dataclasses.asdict(row) for row in rows]
        page = f"{_NOTE.format(draws=RESAMPLES)}\n\n{pairs_table(cells).markdown()}"
        write_text(Path(self.directory) / self.page, page)
        data = {"fingerprint": fingerprint(hashes_of(pairs))}
        return {"data": data, "files": len(paths), "rows": cells}

    @staticmethod
    def _check_origin(place: Path, trained_on: str, tokenizer: str) -> None:
        if trained_on != tokenizer:
            raise InputError(
                f"{place}: of tokens of semantic {trained_on[:16]}, but --semantic is "
                f"{tokenizer[:16]}; name the tokenizer that it was trained with"
            )


def pairs_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows of pairs.json."""
    heads = ("pairs of", "number", *rows[0]["accuracies"])
    lines = []
    for row in rows:
        name = f"{row['kind']}, {row['group']} {row['value']}" if row["group"] else row["kind"]
        cells = [
            f"{percent(x['mean'])} ({percent(x['low'])} to {percent(x['high'])})"
            for x in row["accuracies"].values()
        ]
        lines.append((name, str(row["pairs"]), *cells))
    return Table(heads, lines)


def _sides(pairs: Sequence[Any]) -> tuple[list[Path], list[Path]]:
    return [pair.good for pair in pairs], [pair.bad for pair in pairs]


def _write_scores(
    out: Path, source: Path, paths: Sequence[Path], tokens: Sequence[int], table: Mapping[str, Any]
) -> None:
    """A line a file: its tokens, and the sum of their log-probabilities in nats by each scorer."""
    root = source if source.is_dir() else source.parent
    sums = {name.partition(",")[0]: own for name, own in table.items() if name.endswith("sum")}
    lines = ["\t".join(("file", "tokens", *sums))]
    for place, path in enumerate(paths):
        values = (f"{own[place]:.6f}" for own in sums.values())
        name = path.relative_to(root).as_posix()
        lines.append("\t".join((name, str(tokens[place]), *values)))
    write_text(out, "".join(f"{line}\n" for line in lines))
