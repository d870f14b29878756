"""Plots about a thing: lost, found, given, bought, broken, cooked or grown."""

from tools.stories.steps import FRIENDS, HERO, HOME, LESSON, MOOD, WENT, WHEN, Plot
from tools.stories.words import FAMILY, OBJECTS

THING_PLOTS: dict[str, Plot] = {
    "lost": Plot(
        (
            HERO,
            (
                "{Hero} had {a color} {object} and took it everywhere.",
                "{His} {family} once gave {him} {a color} {object}.",
                "{He} owned {a size} {color} {object} and loved it very much.",
            ),
            (f"{WHEN}, {{hero}} {WENT} to the {{place}} with the {{color}} {{object}}.",),
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
            ("{Hero} thanked the {animal} and took the {color} {object} home.", *FRIENDS),
            LESSON,
        )
    ),
    "found": Plot(
        (
            HERO,
            MOOD,
            (f"{WHEN}, {{hero}} found {{a color}} {{object}} {{spot}}.",),
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
            ("Then {hero} and {friend} went to the {place} to {game} together.", *HOME),
            LESSON,
        )
    ),
    "birthday": Plot(
        (
            HERO,
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
            LESSON,
        ),
    ),
    "cooking": Plot(
        (
            HERO,
            (
                f"{WHEN}, {{hero}} wanted to make {{some food}} with {{his}} {{family}}.",
                f"{WHEN}, {{his}} {{family}} said it was time to cook {{some food}}.",
            ),
            (
                "First they needed {number} {count number fruit} and {some dish}.",
                "There {was_number} only {number} {count number fruit} in the kitchen.",
            ),
            (
                f"So {{he}} {WENT} to the {{place}} with {{a color}} basket.",
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
            HOME,
        )
    ),
    "market": Plot(
        (
            HERO,
            (
                f"{WHEN}, {{hero}} {WENT} to the market with {{number}} {{count number coin}}.",
                f"{WHEN}, {{his}} {{family}} gave {{him}} {{number}} {{count number coin}}.",
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
            HOME,
            LESSON,
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
                f"{WHEN}, they met at the {{place}} to {{game}}.",
                f"{WHEN}, they sat together {{spot}}.",
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
            HOME,
            LESSON,
        )
    ),
    "practice": Plot(
        (
            HERO,
            ("{He} wanted to {skill}, but {he} did not know how.",),
            (
                "{Hero} tried to {skill} every day, but it was [hard/difficult].",
                "{Friend} laughed at {him}, and {hero} was {unhappy}.",
            ),
            (
                f"{WHEN}, {{hero}} {WENT} to the {{person}} near the {{place}}.",
                f"{WHEN}, {{he}} asked {{his}} {{family}} for help.",
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
            HOME,
            LESSON,
        )
    ),
    "planting": Plot(
        (
            HERO,
            (
                f"{WHEN}, {{hero}} found {{a size}} seed {{spot}}.",
                f"{WHEN}, the {{person}} gave {{hero}} {{number}} {{count number seed}}.",
            ),
            (
                "{He} dug a hole in the garden with {a color} spoon.",
                "{He} wanted to grow {a plant} behind the house.",
            ),
            (
                "{He} watered it every [morning/evening/day].",
                "The rain fell, and the sun was warm.",
            ),
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
            HOME,
            LESSON,
        ),
        {"size": ("big", "little", "small", "tiny", "old", "round", "odd", "enormous", "ugly")},
    ),
    "broken": Plot(
        (
            HERO,
            (
                "{His} {family} had {a size} {color} {object}.",
                "{His} {family} kept {a color} {object} {spot}.",
            ),
            (f"{WHEN}, {{hero}} wanted to {{game}} in the house.",),
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
            HOME,
            LESSON,
        ),
        {"family": tuple(name for name in FAMILY if name != "cousin")},
    ),
    "guest": Plot(
        (
            HERO,
            (
                f"{WHEN}, {{a trait}} {{person}} came to {{his}} door.",
                f"{WHEN}, {{his}} {{family}} came to visit {{him}}.",
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
            HOME,
        ),
        {"gift": tuple(noun for noun in OBJECTS if noun != "bag")},
    ),
}
