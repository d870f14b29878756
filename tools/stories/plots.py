"""The plots: for each, the steps of a story and what may be said at each.

A step is a list of wordings, of which a story takes one; the empty wording leaves the step out. In a
wording, `|` separates sentences, `[a/b]` is a free choice and `{...}` a slot:

    {hero} {Hero}      the value of a fact, as it is or with a capital
    {a size}           the value with a or an, as its first sound wants
    {some food}        the same, but "some soup" where there is no plural
    {plural animal}    its plural
    {count number animal}   the noun as it follows that number

Words within brackets may not hold slots. He, she, his and her always mean the hero; everyone else is
called by name or noun, and a thing that was introduced keeps its noun and color.
"""

import dataclasses
from collections.abc import Mapping

from tools.stories.words import FAMILY, OBJECTS

Step = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Plot:
    """Steps in their order, and facts whose domain is narrower here."""

    steps: tuple[Step, ...]
    domains: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


_WHEN = (
    "[One day/One morning/One evening/That day/One afternoon/Last summer/Last winter/On Monday/"
    "On Sunday/After lunch/After school/Before dinner]"
)
_WENT = "[ran/walked/went/hurried/skipped/rode]"

_HERO: Step = (
    "Once upon a time there was {a trait} {child} named {hero}.",
    "{Hero} was {a trait} {child} who lived near the {where}.",
    "{Hero} lived in [a small/a big/an old/a white/a tiny/an ugly] house with {his} {family}.",
    "There once lived {a trait} {child}, and everyone called {him} {hero}.",
    "In [a small/a quiet/an old/a pretty] village lived {a trait} {child} named {hero}.",
)
_MOOD: Step = (
    "",
    "",
    "It was {a weather} day, and {hero} was very {glad}.",
    "It was {weather} outside, but {hero} was not {unhappy}.",
    "{Hero} liked to {game} and to {skill}.",
)
_HOME: Step = (
    "Then {hero} went home and ate {some dish} for [dinner/supper].",
    "That night, {hero} slept well and dreamed about [flowers/a castle/the stars/an island/the moon].",
    "{Hero} told {his} {family} all about it.",
    "When the sun went down, {hero} was tired but {glad}.",
    "At home, {his} {family} gave {him} {some dish} and a [warm/big] hug.",
    "{Hero} smiled, closed {his} eyes and fell asleep.",
)
_LESSON: Step = (
    "",
    "From that day on, {hero} was always [kind/careful/brave/polite/helpful].",
    "{Hero} learned to [share/be kind/be careful/help others/say sorry/try again/listen].",
    "It was the best day of the [year/week/summer].",
    "{Hero} was very {glad}.",
)
_FRIENDS: Step = (
    "From that day on, {hero} and the {animal} were best friends.",
    "{Hero} and the {animal} lived happily ever after.",
    "Now the {animal} visits {hero} [every day/every morning/each week].",
)

PLOTS: dict[str, Plot] = {
    "lost": Plot(
        (
            _HERO,
            (
                "{Hero} had {a color} {object} and took it everywhere.",
                "{His} {family} once gave {him} {a color} {object}.",
                "{He} owned {a size} {color} {object} and loved it very much.",
            ),
            (f"{_WHEN}, {{hero}} {_WENT} to the {{place}} with the {{color}} {{object}}.",),
            (
                "But on the way home, {he} lost the {color} {object}.",
                "Suddenly the {color} {object} was gone.",
                "A strong wind came and blew the {color} {object} away.",
            ),
            (
                "{Hero} felt very {unhappy} and began to cry.",
                "{He} sat down on the ground and was {unhappy}.",
                "{He} looked {spot}, but the {color} {object} was not there.",
            ),
            (
                "Then {a stature} {animal} came by. | "
                '"Have you seen my {color} {object}?" {he} asked the {animal}.',
                "{A stature} {animal} heard {him}. | "
                '"Let us look for it together," said the {animal}.',
            ),
            (
                "At last, the {animal} found the {color} {object} {spot}.",
                "They searched all day and found the {color} {object} {spot}.",
            ),
            ("{Hero} thanked the {animal} and took the {color} {object} home.", *_FRIENDS),
            _LESSON,
        )
    ),
    "found": Plot(
        (
            _HERO,
            _MOOD,
            (f"{_WHEN}, {{hero}} found {{a color}} {{object}} {{spot}}.",),
            (
                "{He} picked up the {color} {object} and looked around.",
                '"Whose {color} {object} is this?" {he} asked {himself}.',
                "{He} washed the {color} {object} until it was [clean/shiny] again.",
            ),
            (
                "Then {he} saw {friend} near the {place}. | "
                '"I lost my {color} {object}," said {friend}.',
                "At the {place}, {friend} was looking for {a color} {object}.",
            ),
            (
                "{Hero} gave the {color} {object} back to {friend}.",
                '"Here is your {color} {object}," said {hero}, and {friend} was very {glad}.',
            ),
            ("", '"Thank you very much," said {friend}.', "{Friend} gave {hero} {some food}."),
            ("Then {hero} and {friend} went to the {place} to {game} together.", *_HOME),
            _LESSON,
        )
    ),
    "birthday": Plot(
        (
            _HERO,
            (
                "Today was {his} birthday, and {he} was {several} years old.",
                "It was {his} birthday, and {his} {family} baked {a color} cake.",
            ),
            (
                "{His} {family} gave {him} {a size} {color} {object}.",
                "{Friend} came and gave {him} {a color} {object}.",
            ),
            (
                '"I have always wanted {a color} {object}," said {hero}.',
                "{He} put the {color} {object} on the table and looked at it.",
                "{He} hugged the {color} {object} and jumped for joy.",
            ),
            (
                "There {was_number} {number} {count number animal} at the party.",
                "There {was_number} {number} {count number fruit} on the table.",
                "{Number} {count number animal} {was_number} there and sang {a trait} song.",
            ),
            (
                "They all ate {some food} and {some dish}.",
                "They played with the {color} {object} until it was dark.",
            ),
            (
                "That night, the {color} {object} lay next to {his} bed.",
                "{He} took the {color} {object} to bed and slept well.",
            ),
            _LESSON,
        ),
    ),
    "hungry": Plot(
        (
            _HERO,
            (
                f"{_WHEN}, {{hero}} saw {{a stature}} {{animal}} near the {{place}}.",
                "{He} had {a stature} {animal} that lived {spot}.",
            ),
            (
                "The {animal} was hungry because it had no {plural food}.",
                "The {animal} was [hungry/thirsty/cold/weak] and looked {unhappy}.",
            ),
            (
                '"May I have {some food}?" asked the {animal}.',
                '"I have not eaten for {several} days," said the {animal}.',
                '"Are you {unhappy}?" {he} asked the {animal}.',
            ),
            (
                f"{{Hero}} {_WENT} home and brought {{some food}} for the {{animal}}.",
                "{Hero} gave the {animal} {some food} and {some dish}.",
            ),
            (
                "The {animal} ate it [slowly/quickly/quietly/happily] and was {glad}.",
                "The {animal} ate everything and licked {his} hand.",
            ),
            ("", "It was not {unhappy} any more.", '"Thank you, {hero}," said the {animal}.'),
            _FRIENDS,
            _LESSON,
        )
    ),
    "counting": Plot(
        (
            _HERO,
            _MOOD,
            (
                f"{_WHEN}, {{hero}} {_WENT} to the {{place}} with {{his}} {{family}}.",
                f"{_WHEN}, {{hero}} and {{friend}} {_WENT} to the {{place}}.",
            ),
            (
                "There were {several} {plural animal} {spot}.",
                "{Several} {plural animal} were sitting {spot}.",
            ),
            (
                "{Hero} counted the {plural animal} [slowly/quietly/carefully].",
                '"Look, there are {several} {plural animal}," said {hero}.',
            ),
            (
                "Then {a stature} {other} came, and one {animal} ran away.",
                "Then one {animal} [jumped/ran/hurried/slipped] away.",
            ),
            (
                "Now there {was_left} only {left} {count left animal}.",
                "Only {left} {count left animal} {was_left} left.",
            ),
            (
                "{Hero} gave {some food} to the {plural animal}.",
                "{He} wanted to draw the {plural animal} with {a color} crayon.",
                "",
            ),
            _HOME,
            _LESSON,
        )
    ),
    "cooking": Plot(
        (
            _HERO,
            (
                f"{_WHEN}, {{hero}} wanted to make {{some food}} with {{his}} {{family}}.",
                f"{_WHEN}, {{his}} {{family}} said it was time to cook {{some food}}.",
            ),
            (
                "First they needed {number} {count number fruit} and {some dish}.",
                "There {was_number} only {number} {count number fruit} in the kitchen.",
            ),
            (
                f"So {{he}} {_WENT} to the {{place}} with {{a color}} basket.",
                "{He} put everything into {a color} bowl.",
                "{He} asked the {person} for {some dish}.",
            ),
            (
                "{He} stirred it [slowly/quickly/carefully] with {a size} spoon.",
                '"Be careful, it is very hot," said {his} {family}.',
            ),
            ("", "Soon the whole house smelled [good/sweet/wonderful]."),
            (
                "Then {friend} came in and wanted to try it.",
                "{A stature} {animal} looked in through the window.",
            ),
            (
                "They all sat down and ate together.",
                "Everyone said it was the best meal in the whole town.",
            ),
            _HOME,
        )
    ),
    "rain": Plot(
        (
            _HERO,
            (
                f"{_WHEN}, {{hero}} wanted to {{game}} at the {{place}}.",
                f"{_WHEN}, {{hero}} {_WENT} to the {{place}} to {{game}} with {{friend}}.",
            ),
            (
                "But dark clouds came, and it began to rain.",
                "Suddenly there was a loud noise, and rain fell from the sky.",
            ),
            (
                "{He} had {a color} {object} over {his} head.",
                "{His} {family} had given {him} {a size} {color} {object}.",
            ),
            (
                "{A stature} {animal} was sitting in the rain and looked {unhappy}.",
                "{He} met {a stature} {animal} that was wet and cold.",
            ),
            (
                '"Come under my {color} {object}," said {hero}.',
                "{Hero} held the {color} {object} over the {animal}.",
            ),
            (
                "They waited {spot} until the rain stopped.",
                "Together they walked home under the {color} {object}.",
            ),
            ("Then the sun came out, and the {place} was bright again.", ""),
            _FRIENDS,
        ),
        {"object": ("umbrella", "coat", "blanket", "hat", "scarf", "basket", "box", "apron")},
    ),
    "hurt": Plot(
        (
            _HERO,
            (
                f"{_WHEN}, {{he}} heard {{a stature}} {{animal}} cry {{spot}}.",
                f"{_WHEN}, {{hero}} found {{a stature}} {{animal}} near the {{place}}.",
            ),
            ("The {animal} had hurt its {limb} and could not move.", "Its {limb} was hurt."),
            (
                '"Can you help me?" asked the {animal}.',
                '"Do not be afraid," said {hero}. | "I will help you," {he} whispered.',
            ),
            (
                "{He} took {a color} {object} and covered the {animal} with it.",
                "{He} carried the {animal} to the {person} in {a color} {object}.",
            ),
            (
                "The {person} looked at its {limb} and gave it {some food}.",
                "{His} {family} washed the {limb} with warm water.",
            ),
            (
                "After {several} days, the {animal} could run again.",
                "Soon the {animal} was well and danced around the {color} {object}.",
            ),
            ("", '"You are {a trait} {child}," said the {animal}.'),
            _FRIENDS,
        ),
        {
            "object": ("blanket", "basket", "coat", "box", "scarf", "bag", "wagon", "apron"),
        },
    ),
    "market": Plot(
        (
            _HERO,
            (
                f"{_WHEN}, {{hero}} {_WENT} to the market with {{number}} {{count number coin}}.",
                f"{_WHEN}, {{his}} {{family}} gave {{him}} {{number}} {{count number coin}}.",
            ),
            (
                "At the market, {he} saw {a person} with {a color} {object}.",
                "{He} met {a trait} {person} who sold {a size} {color} {object}.",
            ),
            (
                '"How much is the {color} {object}?" asked {hero}.',
                '"I would like to buy the {color} {object}," said {hero}.',
            ),
            (
                '"Give me {number} {count number coin}," said the {person}.',
                '"You can have it for {some food}," said the {person}.',
            ),
            (
                "{Hero} paid and put the {color} {object} in {his} bag.",
                "{Hero} bought the {color} {object} and went home.",
            ),
            (
                '"What a pretty {color} {object}," said {his} {family}.',
                "{He} gave the {color} {object} to {his} {family}.",
                "{Friend} wanted to see the {color} {object}, too.",
            ),
            _HOME,
            _LESSON,
        ),
        {"object": tuple(noun for noun in OBJECTS if noun not in ("coin", "bag"))},
    ),
    "trade": Plot(
        (
            (
                "{Hero} and {friend} were very good friends.",
                "{Hero} was {a trait} {child} who lived near {friend}.",
            ),
            ("{Hero} had {a color} {object}.", "{Hero} owned {a size} {color} {object}."),
            ("{Friend} had {a tint} {gift}.", "{Friend} owned {a size} {tint} {gift}."),
            (
                f"{_WHEN}, they met at the {{place}} to {{game}}.",
                f"{_WHEN}, they sat together {{spot}}.",
            ),
            (
                '"Your {tint} {gift} is very [nice/pretty]," said {hero}.',
                '"May I play with your {tint} {gift}?" asked {hero}.',
            ),
            (
                '"You can have it for the {color} {object}," said {friend}.',
                '"Yes, if I may have the {color} {object}," said {friend}.',
            ),
            (
                "So {hero} took the {tint} {gift}, and {friend} took the {color} {object}.",
                "{Hero} gave {friend} the {color} {object} and got the {tint} {gift}.",
            ),
            (
                "{Hero} carried the {tint} {gift} home.",
                "{His} {family} liked the {tint} {gift}, too.",
            ),
            _HOME,
            _LESSON,
        )
    ),
    "way_home": Plot(
        (
            _HERO,
            (
                f"{_WHEN}, {{hero}} {_WENT} into the forest to look for {{plural fruit}}.",
                f"{_WHEN}, {{hero}} {_WENT} to the {{place}} all alone.",
            ),
            (
                "It was getting dark, and {he} did not know the way home.",
                "{He} walked for {several} hours and was lost.",
            ),
            (
                "{He} was [scared/afraid/cold] and {unhappy}.",
                "{He} heard an owl {spot} and was [scared/afraid].",
            ),
            (
                "{A stature} {animal} was sitting {spot}. | "
                '"Where is my house?" {he} asked the {animal}.',
                "Then {a stature} {animal} looked at {him}. | "
                '"I will show you the way," said the {animal}.',
            ),
            (
                "The {animal} went first, and {hero} followed.",
                "They went over the hill and past the {where}.",
            ),
            (
                "At the {where}, {his} {family} was waiting with {a color} lamp.",
                "Soon {he} saw the light of {his} house.",
            ),
            ("{Hero} gave the {animal} {some food} and said good night.", *_FRIENDS),
            _LESSON,
        ),
        {"fruit": ("apple", "pear", "plum", "berry", "nut", "cherry", "lemon")},
    ),
    "practice": Plot(
        (
            _HERO,
            ("{He} wanted to {skill}, but {he} did not know how.",),
            (
                "{Hero} tried to {skill} every day, but it was [hard/difficult].",
                "{Friend} laughed at {him}, and {hero} was {unhappy}.",
            ),
            (
                f"{_WHEN}, {{hero}} {_WENT} to the {{person}} near the {{place}}.",
                f"{_WHEN}, {{he}} asked {{his}} {{family}} for help.",
            ),
            (
                '"First you must {game} every morning," was the answer.',
                '"Try again, and do not give up," was the answer.',
            ),
            (
                "{Hero} tried {number} {count number time}, and then {number} more.",
                "{He} worked for {several} days, even when it was {weather}.",
            ),
            (
                "At last {he} could {skill} very well.",
                "Now {hero} could {skill} better than anyone in the school.",
            ),
            (
                "Even {friend} and the {plural animal} clapped.",
                "Everyone clapped and shouted.",
            ),
            _HOME,
            _LESSON,
        )
    ),
    "planting": Plot(
        (
            _HERO,
            (
                f"{_WHEN}, {{hero}} found {{a size}} seed {{spot}}.",
                f"{_WHEN}, the {{person}} gave {{hero}} {{number}} {{count number seed}}.",
            ),
            (
                "{He} dug a hole in the garden with {a color} spoon.",
                "{He} wanted to grow {a plant} behind the house.",
            ),
            ("{He} watered it every [morning/evening/day].", "The rain fell, and the sun was warm."),
            (
                "{A stature} {animal} came to eat it, but {hero} said no.",
                "After {several} weeks, there was a small green leaf.",
            ),
            (
                "In the end, there {was_number} {number} {count number plant} in the garden.",
                "Soon {number} {count number plant} {was_number} there.",
            ),
            (
                "{Hero} gave {a plant} to {his} {family}.",
                "{Hero} picked {a plant} and carried it to {friend}.",
            ),
            _HOME,
            _LESSON,
        ),
        {"size": ("big", "little", "small", "tiny", "old", "round", "odd", "enormous", "ugly")},
    ),
    "noise": Plot(
        (
            _HERO,
            (
                "One night, {hero} heard a strange noise {spot}.",
                "One night, there was a loud noise {spot}.",
            ),
            ('"Who is there?" asked {hero}.', "{Hero} was [scared/afraid] and called {his} {family}."),
            (
                "{He} took {a color} {object} and opened the door.",
                "{He} held {a color} {object} and looked [slowly/carefully] into the dark.",
            ),
            (
                "It was only {a stature} {animal}.",
                "There was {a stature} {animal} in the dark.",
            ),
            (
                '"I only wanted {some food}," was the answer.',
                '"I only wanted to see your {color} {object}," was the answer.',
                '"It is too cold outside," was the answer.',
            ),
            (
                "{Hero} laughed and put the {color} {object} down.",
                "{Hero} was not afraid any more.",
            ),
            (
                "{He} gave it {some food} and went back to bed.",
                "Then {hero} put the {color} {object} away and slept until morning.",
            ),
            _LESSON,
        )
    ),
    "broken": Plot(
        (
            _HERO,
            (
                "{His} {family} had {a size} {color} {object}.",
                "{His} {family} kept {a color} {object} {spot}.",
            ),
            (f"{_WHEN}, {{hero}} wanted to {{game}} in the house.",),
            (
                "{He} [fell/jumped/ran] and broke the {color} {object}.",
                "Suddenly the {color} {object} fell down and broke.",
            ),
            (
                "{Hero} was {unhappy} and hid the {color} {object} in a box.",
                '"What can I do now?" {he} asked {himself}.',
            ),
            (
                "{A trait} {person} told {him} to say sorry.",
                '"You must tell the truth," said {friend}.',
            ),
            (
                "So {he} showed the broken {color} {object} to {his} {family}.",
                '"I am sorry about the {color} {object}," said {hero}.',
            ),
            (
                "They fixed the {color} {object} together with some glue.",
                "{His} {family} was not angry and hugged {him}.",
            ),
            _HOME,
            _LESSON,
        ),
        {"family": tuple(name for name in FAMILY if name != "cousin")},
    ),
    "race": Plot(
        (
            (
                "Near the {place} lived {a trait} {animal} and {a stature} {other}.",
                "In the {place} lived {a stature} {animal} and {a stature} {other}.",
            ),
            (
                '"I am faster than you," said the {other} to the {animal}.',
                "The {other} always laughed at the {animal}.",
            ),
            (f"{_WHEN}, they wanted to run from the {{place}} to the {{where}}.",),
            (
                "{Hero} came to watch, and {he} counted to {several}.",
                "{Hero} held up {a color} flag. | {He} counted to {several}.",
            ),
            (
                "The {other} ran very [fast/quickly], but then it stopped to eat {some food}.",
                "The {other} was so [fast/quick] that it slept {spot}.",
            ),
            (
                "The {animal} ran slowly but never stopped.",
                "{Number} {count number minute} later, the {animal} ran past.",
            ),
            (
                "In the end, the {animal} was first at the {where}.",
                "{Hero} shouted, because the {animal} was first.",
            ),
            (
                "{Hero} gave the {animal} {a color} {object}.",
                "{Hero} gave {some fruit} to the {animal} and {some dish} to the {other}.",
            ),
            ("The {other} was {unhappy}, but it said sorry.", "After that, they were friends."),
        )
    ),
    "guest": Plot(
        (
            _HERO,
            (
                f"{_WHEN}, {{a trait}} {{person}} came to {{his}} door.",
                f"{_WHEN}, {{his}} {{family}} came to visit {{him}}.",
            ),
            (
                '"It is {a weather} day," said {hero}. | "Please come in and sit down," {he} said.',
                "{Hero} opened the door and said good morning.",
            ),
            (
                "On the table there {was_number} {number} {count number fruit}.",
                "{Number} {count number fruit} {was_number} on the table, next to {some dish}.",
            ),
            (
                "They ate {some food} and talked about the {place}.",
                "They ate {some food} and looked at {a color} {object}.",
            ),
            (
                "Then the guest gave {him} {a tint} {gift}.",
                "Then the guest took {a tint} {gift} out of a bag.",
            ),
            (
                '"The {tint} {gift} is for you," said the guest.',
                '"What can I do with the {tint} {gift}?" asked {hero}.',
            ),
            (
                "{Hero} put the {tint} {gift} {spot}.",
                "{Hero} played with the {tint} {gift} until dinner.",
            ),
            _HOME,
        ),
        {"gift": tuple(noun for noun in OBJECTS if noun != "bag")},
    ),
}
