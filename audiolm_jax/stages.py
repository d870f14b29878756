"""The three stages of AudioLM as data: streams, ids, order of tokens, legal ids per position.

Every stage is one decoder-only model over one sequence

    BOS  condition ...  SEP  target ...  EOS        (semantic: BOS target ... EOS)

with a vocabulary of its own. Ids 0..3 are PAD, BOS, SEP, EOS; then follow the stage's blocks:

    semantic  [K semantic]
    coarse    [K semantic] [N codes of level 0] ... [N codes of level Q'-1]
    fine      [N codes of level 0] ... [N codes of level Q-1]

Acoustic tokens are flattened row-major, time first, then level; the i-th token of a stream of m
levels carries the offset of level i mod m (Paper: AudioLM section III-B). Semantic tokens are
de-duplicated in stages 1 and 2 (section III-C) or, as SoundStorm has them, one a frame. The layout
of special tokens is ours: the paper does not give it (docs/reference/deviations.md).

Everything here is numpy and pure: the data pipeline, the models and decoding all read it.
"""

import dataclasses
import functools
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int, Integer

from audiolm_jax.errors import InputError, check_fields

PAD, BOS, SEP, EOS = 0, 1, 2, 3
FIRST_ID = 4  # first id that is not special

StageName = Literal["semantic", "coarse", "fine"]


@dataclasses.dataclass(frozen=True)
class Sequence:
    """One example of a stage, before it is shifted into inputs and targets."""

    tokens: np.ndarray  # int32 [l], BOS first
    target_start: int  # index of the first token that counts in the loss


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """What a stage reads and writes."""

    name: StageName
    """Which of the three stages."""
    semantic_clusters: int = 0
    """K, semantic clusters; 0 takes the token store's."""
    codebook_size: int = 0
    """N, codes per quantizer level; 0 takes the token store's."""
    levels: int = 0
    """Q, quantizer levels of the codec; 0 takes the token store's."""
    coarse_levels: int = 4
    """Q', how many of them the coarse stage writes; the fine stage writes the rest."""
    semantic_rate_hz: int = 25
    """Semantic tokens per second before de-duplication."""
    acoustic_rate_hz: int = 50
    """Codec frames per second."""
    crop_seconds: float = 30.0
    """Longest stretch of audio in one sequence (paper: 30, 10 and 3)."""
    deduplicate: bool = True
    """Whether a run of equal semantic tokens counts once. Otherwise there is one for each semantic
    frame: the semantic stage decides how long each lasts, and the coarse stage is told it. The fine
    stage reads none."""
    semantic_condition: bool = True
    """Whether the coarse stage is told the semantic tokens. Without them it goes on from the sound
    before alone: the paper's ablation. The other stages ignore it."""
    condition_dropout: float = 0.0
    """Share of the training's rows whose condition is hidden, so that generation can be guided by
    what it changes (`Sampling.guidance`); 0, as in the paper: it cannot."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--model.stage", between=" ")
        check("semantic_clusters codebook_size levels", lambda x: x >= 0, "0 or more")
        levels, rate = self.levels, self.semantic_rate_hz
        in_levels = f"1 to --model.stage.levels {levels}"
        check("coarse_levels", lambda x: 1 <= x <= (levels or x), in_levels)
        if self.name == "fine":
            fewer = f"fewer: {levels}, all, leaves the fine stage nothing to write; do not train it"
            check("coarse_levels", lambda x: x != levels, fewer)
        check("condition_dropout", lambda x: 0 <= x < 1, "0 to below 1")
        if self.condition_dropout and not self.has_condition:
            why = "this stage is told nothing that could be hidden; expected 0"
            raise InputError(f"--model.stage.condition-dropout {self.condition_dropout}: {why}")
        multiple = f"a multiple of --model.stage.semantic-rate-hz {rate}"
        check("acoustic_rate_hz", lambda x: x % rate == 0, multiple)
        frames = self.crop_seconds * rate
        # With a margin: 0.28 s x 25 Hz is a little more than 7 in floating point.
        is_whole = frames > 0.5 and abs(frames - round(frames)) <= 1e-6
        whole = f"a positive whole number of semantic tokens of 1/{rate} s"
        check("crop_seconds", lambda _: is_whole, whole)

    @property
    def is_sized(self) -> bool:
        """Whether all sizes are given; else the token store has to give them."""
        return min(self.semantic_clusters, self.codebook_size, self.levels) > 0

    def sized(self, semantic_clusters: int, codebook_size: int, levels: int) -> "StageConfig":
        """The same with sizes in place of those that are not given."""
        return dataclasses.replace(
            self,
            semantic_clusters=self.semantic_clusters or semantic_clusters,
            codebook_size=self.codebook_size or codebook_size,
            levels=self.levels or levels,
        )

    @property
    def frames_per_semantic(self) -> int:
        """Codec frames in the time of one semantic token."""
        return self.acoustic_rate_hz // self.semantic_rate_hz

    @property
    def crop_semantic(self) -> int:
        """Semantic tokens in a full crop, before de-duplication."""
        return round(self.crop_seconds * self.semantic_rate_hz)

    @property
    def crop_frames(self) -> int:
        """Codec frames in a full crop."""
        return self.crop_semantic * self.frames_per_semantic

    @property
    def tokenizers(self) -> tuple[str, ...]:
        """Those whose tokens it reads or writes: another of the rest needs no new training."""
        codec = () if self.name == "semantic" else ("codec",)
        return (*codec, "semantic") if self.reads_semantic else codec

    @property
    def reads_semantic(self) -> bool:
        """Whether semantic tokens are in its sequences."""
        return self.name == "semantic" or (self.name == "coarse" and self.semantic_condition)

    @property
    def has_condition(self) -> bool:
        """Whether its sequences tell it more than what it wrote."""
        return self.name == "fine" or (self.name != "semantic" and self.reads_semantic)

    @property
    def crop_targets(self) -> int:
        """Target tokens of a full crop without end token (nothing repeats)."""
        frames = self.crop_semantic if self.name == "semantic" else self.crop_frames
        return frames * len(self.target_levels)

    @property
    def target_levels(self) -> range:
        """Quantizer levels of the target stream; one pseudo-level for semantic tokens."""
        match self.name:
            case "semantic":
                return range(1)
            case "coarse":
                return range(self.coarse_levels)
            case "fine":
                return range(self.coarse_levels, self.levels)

    @property
    def level_names(self) -> tuple[str, ...]:
        """Names of the rows in every table of losses per level; the last row is the end token."""
        if self.name == "semantic":
            return "semantic", "end"
        return (*(f"level_{level}" for level in self.target_levels), "end")

    @property
    def target_codebook_size(self) -> int:
        """Ids in one level of the target stream."""
        return self.semantic_clusters if self.name == "semantic" else self.codebook_size

    @property
    def acoustic_start(self) -> int:
        """Id of code 0 of level 0."""
        return FIRST_ID + (self.semantic_clusters if self.name == "coarse" else 0)

    def first_id(self, row: int) -> int:
        """Id of code or cluster 0 where target position i, i mod m = `row`, is of m levels."""
        if self.name == "semantic":
            return FIRST_ID
        return self.acoustic_start + (self.target_levels.start + row) * self.codebook_size

    @property
    def vocab_size(self) -> int:
        """Ids of the stage, specials included."""
        if self.name == "semantic":
            return FIRST_ID + self.semantic_clusters
        return self.acoustic_start + self.target_levels.stop * self.codebook_size

    @property
    def max_tokens(self) -> int:
        """Longest sequence of a full crop, BOS, SEP and EOS included (nothing repeats)."""
        acoustic = self.crop_frames * self.target_levels.stop
        match self.name:
            case "semantic":
                return 1 + self.crop_semantic + 1
            case "coarse":
                return 1 + self.crop_semantic * self.reads_semantic + 1 + acoustic + 1
            case "fine":  # SEP stands within the codes, and there is no EOS
                return 1 + acoustic + 1

    @property
    def has_end_token(self) -> bool:
        """The fine stage writes a known number of tokens and needs no end token."""
        return self.name != "fine"


def deduplicate(ids: Integer[np.ndarray, " u"]) -> Integer[np.ndarray, " n"]:
    """Shortens every run of equal ids to one (AudioLM section III-C)."""
    begins_run = np.ones(len(ids), bool)
    begins_run[1:] = ids[1:] != ids[:-1]
    return ids[begins_run]


def flatten_levels(
    codes: Integer[np.ndarray, "t q"], first_level: int, config: StageConfig
) -> Int[np.ndarray, " n"]:
    """Row-major ids of codes in [0, N), else ValueError; column j is level `first_level` + j."""
    _check_range("codes", codes, config.codebook_size)
    level = first_level + np.arange(codes.shape[1], dtype=np.int32)
    ids = codes + (config.acoustic_start + level * config.codebook_size)
    return ids.reshape(-1).astype(np.int32, copy=False)


def unflatten_levels(
    ids: Int[np.ndarray, " n"], levels: range, config: StageConfig
) -> Int[np.ndarray, "t q"]:
    """Inverse of `flatten_levels`; ValueError for a cut frame or an id that is not of its level."""
    if len(ids) % len(levels):
        raise ValueError(f"{len(ids)} ids do not fill frames of {len(levels)} levels")
    offsets = config.acoustic_start + np.array(levels) * config.codebook_size
    codes = np.asarray(ids).reshape(-1, len(levels)) - offsets
    _check_range("ids outside the level of their position: codes", codes, config.codebook_size)
    return codes.astype(np.int32)


def kept_clusters(
    clusters: Integer[np.ndarray, " u"], config: StageConfig
) -> Integer[np.ndarray, " n"]:
    """Those of a clip's clusters that stages 1 and 2 read: without repeats, all, or none."""
    if not config.reads_semantic:
        return clusters[:0]
    return deduplicate(clusters) if config.deduplicate else clusters


def semantic_ids(clusters: Int[np.ndarray, " u"], config: StageConfig) -> Int[np.ndarray, " n"]:
    """Ids of the kept clusters, [0, K) else ValueError, in the vocabulary of stage 1 or 2."""
    _check_range("semantic clusters", clusters, config.semantic_clusters)
    return (kept_clusters(clusters, config) + FIRST_ID).astype(np.int32)


def condition_tokens(
    semantic: Int[np.ndarray, " u"], codes: Int[np.ndarray, "t q"], config: StageConfig
) -> Int[np.ndarray, " n"]:
    """Everything before the target: BOS, and for stages 2 and 3 the condition and SEP."""
    match config.name:
        case "semantic":
            return np.array([BOS], np.int32)
        case "coarse":
            condition = semantic_ids(semantic, config)
        case "fine":
            condition = flatten_levels(codes[:, : config.coarse_levels], 0, config)
    return np.concatenate([[BOS], condition, [SEP]]).astype(np.int32)


def without_condition(tokens: Int[np.ndarray, " l"]) -> Int[np.ndarray, " l"]:
    """A sequence of stage 2 or 3 whose condition is hidden: PAD at every place between BOS and
    SEP."""
    hidden = tokens.copy()
    hidden[1 : np.flatnonzero(tokens == SEP)[0]] = PAD
    return hidden


def target_tokens(
    semantic: Int[np.ndarray, " u"], codes: Int[np.ndarray, "t q"], config: StageConfig
) -> Int[np.ndarray, " n"]:
    """The target stream of a window without end token; arguments as in `condition_tokens`."""
    if config.name == "semantic":
        return semantic_ids(semantic, config)
    levels = config.target_levels
    return flatten_levels(codes[:, levels.start : levels.stop], levels.start, config)


def build_sequence(
    semantic: Int[np.ndarray, " u"],
    codes: Int[np.ndarray, "t q"],
    ends_here: bool,
    config: StageConfig,
) -> Sequence:
    """One training example from a window; EOS if the recording `ends_here` and the stage has it."""
    condition = condition_tokens(semantic, codes, config)
    target = target_tokens(semantic, codes, config)
    end = [EOS] if ends_here and config.has_end_token else []
    tokens = np.concatenate([condition, target, end]).astype(np.int32)
    return Sequence(tokens, target_start=len(condition))


def level_rows(target_length: int, ends: bool, config: StageConfig) -> Int[np.ndarray, " n"]:
    """Row of `level_names` for each target token; `ends` if the last of them is EOS."""
    rows = np.arange(target_length, dtype=np.int32) % len(config.target_levels)
    if ends:
        rows[-1] = len(config.level_names) - 1
    return rows


def legal_ids(config: StageConfig) -> Bool[np.ndarray, "m v"]:
    """Which ids may stand at target position i: row i mod m of the result.

    A position admits the codes of its own level only. EOS is legal where a frame may begin, never
    in its middle; decoding forbids it further while a demanded duration is not reached.
    """
    m = len(config.target_levels)
    table = np.zeros((m, config.vocab_size), bool)
    for row in range(m):
        start = config.first_id(row)
        table[row, start : start + config.target_codebook_size] = True
    table[0, EOS] = config.has_end_token
    return table


def _check_range(what: str, values: Integer[np.ndarray, "..."], size: int) -> None:
    if values.size and not (0 <= values.min() and values.max() < size):
        raise ValueError(f"{what} span [{values.min()}, {values.max()}], expected [0, {size})")
