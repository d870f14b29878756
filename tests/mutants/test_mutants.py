"""The list of mutations keeps up with the code; that each is noticed takes many minutes."""

import pytest
from mutants.run import ROOT, judge, mutate, read_mutations

MUTATIONS = read_mutations()


def test_every_mutation_has_its_place_and_tests():
    for mutation in MUTATIONS:
        assert (ROOT / mutation.file).read_text().count(mutation.old) == 1, mutation.name
        assert mutation.old != mutation.new
        for name in mutation.tests:
            path, *names = name.split("::")
            text = (ROOT / path).read_text()
            assert all(f"def {n.split('[')[0]}(" in text for n in names), mutation.name


def test_there_are_enough_in_every_room():
    rooms = {m.file.split("/")[1] for m in MUTATIONS}
    assert rooms >= {
        "artifacts", "audio", "cli", "data", "evaluation", "experiments", "generation", "lm",
        "nn", "tokenizers", "tpu_plan", "training",
    }  # fmt: skip
    assert len(MUTATIONS) >= 60


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_the_default_suite_notices(mutation):
    verdict = judge(mutation)
    assert verdict.is_killed != bool(mutation.survives), verdict.words


def test_a_mutation_without_its_place_is_named(tmp_path):
    mutation = MUTATIONS[0]
    path = tmp_path / mutation.file
    path.parent.mkdir(parents=True)
    path.write_text("nothing of that kind\n")
    with pytest.raises(ValueError, match=f"{mutation.name}: .* 0 times"):
        mutate(mutation, tmp_path)
