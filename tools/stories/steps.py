"""What plots are made of, and the steps that many of them share.

A step is a list of wordings, of which a story takes one; the empty wording leaves the step out. In
a wording, `|` separates sentences, `[a/b]` is a free choice and `{...}` a slot:

    {hero} {Hero}      the value of a fact, as it is or with a capital
    {a size}           the value with a or an, as its first sound wants
    {some food}        the same, but "some soup" where there is no plural
    {plural animal}    its plural
    {count number animal}   the noun as it follows that number

Words within brackets may not hold slots. He, she, his and her always mean the hero; everyone else
is called by name or noun, and a thing that was introduced keeps its noun and color.
"""

import dataclasses
from collections.abc import Mapping

Step = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Plot:
    """Steps in their order, and facts whose domain is narrower here."""

    steps: tuple[Step, ...]
    domains: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


WHEN = (
    "[One day/One morning/One evening/That day/One afternoon/Last summer/Last winter/On Monday/"
    "On Sunday/After lunch/After school/Before dinner]"
)
WENT = "[ran/walked/went/hurried/skipped/rode]"

HERO: Step = (
    "Once upon a time there was {a trait} {child} named {hero}.",
    "{Hero} was {a trait} {child} who lived near the {where}.",
    "{Hero} lived in [a small/a big/an old/a white/a tiny/an ugly] house with {his} {family}.",
    "There once lived {a trait} {child}, and everyone called {him} {hero}.",
    "In [a small/a quiet/an old/a pretty] village lived {a trait} {child} named {hero}.",
)
MOOD: Step = (
    "",
    "",
    "It was {a weather} day, and {hero} was very {glad}.",
    "It was {weather} outside, but {hero} was not {unhappy}.",
    "{Hero} liked to {game} and to {skill}.",
)
HOME: Step = (
    "Then {hero} went home and ate {some dish} for [dinner/supper].",
    "That night, {hero} slept well and dreamed of [flowers/a castle/the stars/an island/the moon].",
    "{Hero} told {his} {family} all about it.",
    "When the sun went down, {hero} was tired but {glad}.",
    "At home, {his} {family} gave {him} {some dish} and a [warm/big] hug.",
    "{Hero} smiled, closed {his} eyes and fell asleep.",
)
LESSON: Step = (
    "",
    "",
    "",
    "From that day on, {hero} was always [kind/careful/brave/polite/helpful].",
    "{Hero} learned to [share/be kind/be careful/help others/say sorry/try again/listen].",
    "It was the best day of the [year/week/summer].",
    "{Hero} was very {glad}.",
)
FRIENDS: Step = (
    "From that day on, {hero} and the {animal} were best friends.",
    "{Hero} and the {animal} lived happily ever after.",
    "Now the {animal} visits {hero} [every day/every morning/each week].",
)
