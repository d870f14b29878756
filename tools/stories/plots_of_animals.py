"""Plots in which the hero meets an animal or several."""

from tools.stories.steps import FRIENDS, HERO, HOME, LESSON, MOOD, WENT, WHEN, Plot

ANIMAL_PLOTS: dict[str, Plot] = {
    "hungry": Plot(
        (
            HERO,
            (
                f"{WHEN}, {{hero}} saw {{a stature}} {{animal}} near the {{place}}.",
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
                f"{{Hero}} {WENT} home and brought {{some food}} for the {{animal}}.",
                "{Hero} gave the {animal} {some food} and {some dish}.",
            ),
            (
                "The {animal} ate it [slowly/quickly/quietly/happily] and was {glad}.",
                "The {animal} ate everything and licked {his} hand.",
            ),
            ("", "It was not {unhappy} any more.", '"Thank you, {hero}," said the {animal}.'),
            FRIENDS,
            LESSON,
        )
    ),
    "counting": Plot(
        (
            HERO,
            MOOD,
            (
                f"{WHEN}, {{hero}} {WENT} to the {{place}} with {{his}} {{family}}.",
                f"{WHEN}, {{hero}} and {{friend}} {WENT} to the {{place}}.",
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
            HOME,
            LESSON,
        )
    ),
    "rain": Plot(
        (
            HERO,
            (
                f"{WHEN}, {{hero}} wanted to {{game}} at the {{place}}.",
                f"{WHEN}, {{hero}} {WENT} to the {{place}} to {{game}} with {{friend}}.",
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
            FRIENDS,
        ),
        {"object": ("umbrella", "coat", "blanket", "hat", "scarf", "basket", "box", "apron")},
    ),
    "hurt": Plot(
        (
            HERO,
            (
                f"{WHEN}, {{he}} heard {{a stature}} {{animal}} cry {{spot}}.",
                f"{WHEN}, {{hero}} found {{a stature}} {{animal}} near the {{place}}.",
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
            FRIENDS,
        ),
        {
            "object": ("blanket", "basket", "coat", "box", "scarf", "bag", "wagon", "apron"),
        },
    ),
    "way_home": Plot(
        (
            HERO,
            (
                f"{WHEN}, {{hero}} {WENT} into the forest to look for {{plural fruit}}.",
                f"{WHEN}, {{hero}} {WENT} to the {{place}} all alone.",
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
            ("{Hero} gave the {animal} {some food} and said good night.", *FRIENDS),
            LESSON,
        ),
        {"fruit": ("apple", "pear", "plum", "berry", "nut", "cherry", "lemon")},
    ),
    "noise": Plot(
        (
            HERO,
            (
                "One night, {hero} heard a strange noise {spot}.",
                "One night, there was a loud noise {spot}.",
            ),
            (
                '"Who is there?" asked {hero}.',
                "{Hero} was [scared/afraid] and called {his} {family}.",
            ),
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
            LESSON,
        )
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
            (f"{WHEN}, they wanted to run from the {{place}} to the {{where}}.",),
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
}
