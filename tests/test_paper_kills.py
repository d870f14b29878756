"""The paper's tables, killed ten times at random moments, are those of a run that was not."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.tiny_models import voice, write_tiny_bundle

from audiolm_jax.audio.files import write_wav

ROOT = Path(__file__).parents[1]
SPEAKERS = ("anna", "bert", "carl", "dora", "emil", "fred")
TASKS = ("material", "detector", "evaluate_detector", "pairs")
CONFIGS = {
    "material": """
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.evaluation.detector.material import DetectorMaterialExperiment
from audiolm_jax.generation.config import GenerationConfig

def experiment():
    return DetectorMaterialExperiment(
        directory="{run}/material", bundle="{root}/bundle", prompt_seconds=1.0,
        continuation_seconds=0.6, batch_size=1, generation=GenerationConfig(context_seconds=1.0),
        data=AudioDataConfig("{root}/audio", "tones", split_by="speaker", heldout_percent=50),
    )
""",
    "detector": """
from audiolm_jax.classifiers.config import ClassifierConfig
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.detector import DetectorExperiment
from audiolm_jax.training.config import LoopConfig

def experiment():
    return DetectorExperiment(
        directory="{run}/detector", batch_size=4, crop_seconds=0.5,
        data=AudioDataConfig("{run}/material/train", "made", split_by="speaker",
                             heldout_percent=40),
        model=ClassifierConfig(channels=(2, 3), label="kind", classes=("real", "generated"),
                               crop_seconds=0.5),
        loop=LoopConfig(steps=40, log_every=1, checkpoint_every=5, tensorboard=False),
    )
""",
    "evaluate_detector": """
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.evaluation.detector.experiment import DetectorEvaluateExperiment

def experiment():
    return DetectorEvaluateExperiment(
        directory="{run}/evaluate_detector", detector="{run}/detector",
        data=AudioDataConfig("{run}/material/test", "made_test", heldout_percent=0),
    )
""",
    "pairs": """
from audiolm_jax.evaluation.pairs.experiment import PairsExperiment

def experiment():
    return PairsExperiment(
        directory="{run}/pairs", pairs="{root}/pairs.tsv", semantic_lm="{root}/bundle"
    )
""",
}
PAPER = f"""
from audiolm_jax.evaluation.paper.experiment import PaperExperiment, Row

def experiment():
    return PaperExperiment(
        directory="{{run}}/paper", title="Tiny",
        tasks=tuple((name, "{{run}}/" + name + ".py") for name in {TASKS}),
        rows=(
            Row("IV-H", "detector", "98.6", "evaluate_detector",
                "verdicts / as it is / accuracy", 4, 100.0),
            Row("Table IV", "pairs", "64.7", "pairs", "rows / tone / accuracies / model, sum", 4),
        ),
    )
"""


def write_inputs(root):
    write_tiny_bundle(root)
    for number, speaker in enumerate(SPEAKERS):
        (root / "audio" / speaker).mkdir(parents=True)
        for take in range(2):
            sound = voice(2.0, 90 + 20 * number + 5 * take, number + 10 * take)
            write_wav(root / "audio" / speaker / f"{take}.wav", sound, 16000, None)
    lines = ["kind\tspeaker\tgood\tbad"]
    for number in range(8):
        for member, pitch in (("good", 100 + 9 * number), ("bad", 170 + 7 * number)):
            write_wav(root / f"{member}{number}.wav", voice(0.7, pitch, number), 16000, None)
        lines.append(f"tone\tanna\tgood{number}.wav\tbad{number}.wav")
    (root / "pairs.tsv").write_text("\n".join(lines) + "\n")


def write_run(root, run):
    run.mkdir()
    for name, text in {**CONFIGS, "all": PAPER}.items():
        filled = text.replace("{run}", str(run)).replace("{root}", str(root))
        (run / f"{name}.py").write_text(filled)


def start(root, run):
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(root / "xla"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, "-m", "audiolm_jax", "evaluate", str(run / "all.py")]
    log = (run / "log").open("w")
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def begun(run):
    """The last task that a process has begun."""
    lines = [x for x in (run / "log").read_text().splitlines() if "task " in x]
    return lines[-1].partition("task ")[2].partition(":")[0] if lines else ""


def made(run):
    """Sounds and weights."""
    files = [*run.rglob("*.wav"), *run.rglob("weights.safetensors")]
    return {path: path.stat().st_mtime_ns for path in files}


def tables(run):
    text = (run / "paper/paper.md").read_text()
    return (run / "paper/paper.csv").read_bytes(), text[: text.index("## Time of each task")]


@pytest.mark.slow
def test_ten_kills_change_no_table_and_nothing_is_made_twice(tmp_path):
    write_inputs(tmp_path)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    write_run(tmp_path, whole)
    since = time.monotonic()
    assert start(tmp_path, whole).wait(timeout=1200) == 0
    write_run(tmp_path, killed)
    spread = (time.monotonic() - since) / len(TASKS) / 2
    rng, there, hit = random.Random(0), {}, []
    # Two or three kills in each task, so that none is left out.
    for number in range(10):
        task = TASKS[number * len(TASKS) // 10]
        process = start(tmp_path, killed)
        while process.poll() is None and begun(killed) != task:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, spread))
        if process.poll() is None:
            hit.append(begun(killed))
        process.kill()
        process.wait()
        now = made(killed)
        assert {path: now.get(path) for path in there} == there
        there = now
    print(f"killed in {hit}")
    assert len(hit) >= 8
    assert start(tmp_path, killed).wait(timeout=1200) == 0
    now = made(killed)
    assert {path: now.get(path) for path in there} == there
    assert tables(killed) == tables(whole)
    names = [{p.relative_to(run) for p in made(run)} for run in (whole, killed)]
    assert names[0] == names[1]
