"""Measures all parts of a bundle on held-out audio and writes the report page."""

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from audiolm_jax import __version__
from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.storage import at
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.lifecycle import Evaluation
from audiolm_jax.generation.config import GenerationConfig

if TYPE_CHECKING:
    from audiolm_jax.data.index import ClipIndex

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class EvaluateExperiment(Evaluation):
    """Measure all parts on held-out audio and write the report page."""

    page: ClassVar[str] = "report.html"
    record: ClassVar[str] = "report.json"

    directory: Place
    """Where report.html, report.json and the generated wav files go."""
    title: str
    """Heading of the page."""
    data: AudioDataConfig
    """Recordings; only held-out clips are continued and measured."""
    bundle: Place
    """The models."""
    tokens: Place
    """Token store the language models were trained on."""
    runs: tuple[Place, ...] = ()
    """Run directories whose loss curves and speed are shown."""
    judged_tokens: Place | None = None
    """Token store by the same tokenizers whose held-out clips the language models are judged on,
    such as of other speakers; None for those of `tokens`."""
    prompts: int = 4
    """How many held-out clips are continued."""
    prompt_seed: int = 0
    """Draws them among the clips that are long enough."""
    prompt_seconds: float = 3.0
    """Beginning of each clip that the models hear."""
    continuation_seconds: float = 4.0
    """What they go on for."""
    seeds: tuple[int, ...] = (0,)
    """One continuation of each prompt for each seed."""
    generation: GenerationConfig = GenerationConfig()
    """Temperatures and windows."""
    licence: str = ""
    """License and attribution of the recordings, shown on the page."""

    def __post_init__(self) -> None:
        if self.prompts < 1 or not self.seeds:
            given = f"--prompts {self.prompts}, --seeds {self.seeds}"
            raise InputError(f"{given}: expected at least one of each")
        for flag, seconds in (
            ("--prompt-seconds", self.prompt_seconds),
            ("--continuation-seconds", self.continuation_seconds),
        ):
            if not seconds > 0:
                raise InputError(f"{flag} {seconds}: expected more than 0")

    def upstream(self) -> dict[str, str]:
        """Fingerprint of the bundle."""
        from audiolm_jax.generation.bundle import read_record

        return {"bundle": read_record(at(self.bundle))["fingerprint"]}

    def check_data(self, index: "ClipIndex") -> None:
        """There must be a held-out clip as long as the prompts."""
        from audiolm_jax.evaluation.bundle.prompts import choose_prompts

        choose_prompts(index, self.prompts, self.prompt_seconds, self.prompt_seed)

    def facts(self) -> dict[str, Any]:
        """Fingerprints of bundle, token store and runs."""
        from audiolm_jax.data.tokens.store import TokenStore
        from audiolm_jax.evaluation.page.training import run_facts

        stores = {"tokens": self.tokens, "judged_tokens": self.judged_tokens}
        tokens = {n: place and TokenStore.open(place).fingerprint for n, place in stores.items()}
        return self.upstream() | tokens | {"curves": run_facts(self.runs)}

    def data_facts(self) -> dict[str, Any]:
        """Of the recordings."""
        from audiolm_jax.data.index import scan

        return {"fingerprint": scan(self.data).fingerprint}

    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Continues held-out prompts, measures every part, writes wav files and the page."""
        import jax

        from audiolm_jax.data.index import scan
        from audiolm_jax.data.tokens.store import TokenStore
        from audiolm_jax.data.unheard import check_unheard, check_untrained
        from audiolm_jax.evaluation.bundle import heldout
        from audiolm_jax.evaluation.bundle.prompts import choose_prompts
        from audiolm_jax.evaluation.bundle.report import ReportPage
        from audiolm_jax.evaluation.page.training import summarize_run
        from audiolm_jax.generation.bundle import load_bundle, read_record
        from audiolm_jax.generation.pipeline import Generator

        trainers = tuple(summarize_run(at(run)) for run in self.runs)
        index, store = scan(self.data), TokenStore.open(self.tokens)
        origins = read_record(at(self.bundle))["provenance"]
        check_unheard(index, {f"{self.bundle}/{part}": of for part, of in origins.items()})
        check_untrained(index, store, {n: of for n, of in origins.items() if n.endswith("_lm")})
        judged = store
        if self.judged_tokens is not None:
            judged = TokenStore.open(self.judged_tokens)
            heldout.check_judged(judged, store)
        self.check_data(index)
        bundle = load_bundle(self.bundle)
        generator = Generator(bundle, self.generation)
        if (rate_hz := self.data.sample_rate_hz) != generator.sample_rate_hz:
            expected = f"the bundle's models take {generator.sample_rate_hz}"
            raise InputError(f"--data.sample-rate-hz = {rate_hz}: {expected}")
        clips = choose_prompts(index, self.prompts, self.prompt_seconds, self.prompt_seed)
        lengths = self.prompt_seconds, self.continuation_seconds
        continued = heldout.continue_clips(generator, index, clips, *lengths, self.seeds)
        for clip in continued:
            clip.write(Path(self.directory) / "continuations", generator, self.continuation_seconds)
        logger.info("continued %d prompts with %d seeds each", len(clips), len(self.seeds))
        codec = heldout.measure_codec(bundle.codec, index)
        semantic = heldout.measure_semantic(bundle.semantic_tokenizer, store)
        likelihoods = [
            heldout.measure_likelihood(part, store, judged) for part in bundle.stages.values()
        ]
        page = ReportPage(
            title=self.title,
            summary=f"{len(index.of('train'))} recordings to learn from, "
            f"{len(index.of('heldout'))} held out. Every figure is measured on the held-out ones. "
            f"{index.heldout_speakers()}",
            sample_rate_hz=generator.sample_rate_hz,
            train_seconds=index.seconds("train"),
            examples=tuple(clip.example(bundle.codec) for clip in continued),
            trainers=trainers,
            likelihoods=tuple(likelihoods),
            codec=codec,
            semantic=semantic,
            provenance={
                "bundle": bundle.fingerprint,
                **{f"part {part}": value for part, value in bundle.parts.items()},
                **heldout.chosen_by(origins, {index.fingerprint, store.fingerprint}),
                "prompts": f"{len(clips)}, drawn by seed {self.prompt_seed}",
                "token store": store.fingerprint,
                "language models judged on": f"{judged.fingerprint}, {judged.provenance.dataset}",
                "data": index.fingerprint,
                "config": facts["config_hash"],
                "seeds of the continuations": ", ".join(map(str, self.seeds)),
                "software": f"audiolm_jax {__version__}, jax {jax.__version__}",
            },
            data_licence=self.licence,
        )
        write_text(Path(self.directory) / self.page, page.render())
        return {
            "data": {"fingerprint": index.fingerprint},
            "heldout_speakers": dataclasses.asdict(index.heldout_speakers()),
            "codec": dataclasses.asdict(codec),
            "semantic": dataclasses.asdict(semantic),
            "likelihood": [dataclasses.asdict(stage) for stage in likelihoods],
        }
