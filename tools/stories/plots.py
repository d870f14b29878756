"""All plots, by name."""

from tools.stories.plots_of_animals import ANIMAL_PLOTS
from tools.stories.plots_of_things import THING_PLOTS
from tools.stories.steps import Plot

PLOTS: dict[str, Plot] = THING_PLOTS | ANIMAL_PLOTS
