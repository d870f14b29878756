"""The words of the world: what each fact of a story can be, and the forms of nouns."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GIRLS = _words("Lily Anna Mia Sara Emma Lucy Ruby Rose Jane Alice Ella Molly Nora Grace")
BOYS = _words("Tom Ben Max Sam Jack Tim Leo Bob Dan Peter Oliver Henry Paul Adam")
NUMBERS = _words("one two three four five six seven eight nine ten")

COLORS = _words("red blue green yellow white black brown pink purple orange silver golden gray")
OBJECTS = _words(
    "ball kite doll book box boat hat bell key drum cup car train feather shell coat basket "
    "umbrella ring scarf bag blanket button balloon lamp bottle spoon crayon marble whistle "
    "ribbon mitten boot shoe sock apron envelope arrow engine robot puppet puzzle wagon pillow "
    "mask flag coin anchor stone oar"
)
ANIMALS = _words(
    "dog cat bird rabbit mouse horse cow duck frog bear fox pig sheep goat hen bee lion monkey "
    "squirrel owl ant elephant otter eagle turtle puppy kitten lamb tiger donkey hedgehog swan "
    "goose crow snail butterfly spider deer mole ape"
)
FOODS = _words(
    "apple cake carrot cookie egg pear pie banana nut berry sandwich plum peach onion potato "
    "tomato muffin pancake cherry lemon bun melon olive"
)
MASS_FOODS = _words("bread soup honey cheese milk rice corn jam butter cream juice")
PLANTS = _words("flower rose tulip bush pumpkin bean apple onion pear plum carrot tomato")
IRREGULAR = {
    "mouse": "mice",
    "sheep": "sheep",
    "deer": "deer",
    "goose": "geese",
    "scarf": "scarves",
}

PLACES = _words(
    "park garden forest river lake hill farm beach market school barn field bridge village pond "
    "meadow library castle island playground town mountain valley mill orchard station harbor "
    "cave"
)
SPOTS = (
    "under the bed",
    "behind the door",
    "under the old tree",
    "near the wall",
    "in the tall grass",
    "on the kitchen table",
    "inside a wooden box",
    "by the window",
    "under an empty chair",
    "next to the road",
    "behind a big rock",
    "on the roof",
    "between two stones",
    "beside the gate",
    "under a pile of leaves",
    "in the corner",
    "at the bottom of the stairs",
    "on a low branch",
    "in a hollow log",
    "behind the curtain",
    "on the top shelf",
    "under the bench",
    "near the fence",
    "inside an old shed",
)
TRAITS = _words(
    "kind brave clever funny shy quiet friendly gentle lazy careful cheerful curious polite "
    "silly helpful wise eager active unusual"
)
# Of things and of animals.
SIZES = _words("big little small tiny old new pretty shiny round soft enormous ugly odd")
STATURES = _words("big little small tiny old young fat huge enormous ugly odd")
GLAD = ("happy", "proud", "pleased", "cheerful", "glad")
UNHAPPY = ("sad", "upset", "unhappy", "worried", "lonely")
WEATHER = _words("sunny rainy windy cold warm snowy cloudy bright icy foggy")
FAMILY = _words("mother father sister brother grandmother grandfather uncle aunt cousin")
PEOPLE = _words(
    "baker farmer teacher doctor neighbor sailor painter singer gardener king queen actor "
    "artist officer"
)
SKILLS = _words("sing swim dance draw paint cook whistle climb skate write count juggle knit sew")
GAMES = _words("play sing dance swim draw run jump paint rest fish climb skate")
LIMBS = _words("leg foot paw ear nose knee toe back")

# Fact -> what it can be.
DOMAINS: dict[str, tuple[str, ...]] = {
    "hero": GIRLS + BOYS,
    "friend": GIRLS + BOYS,
    "family": FAMILY,
    "person": PEOPLE,
    "animal": ANIMALS,
    "other": ANIMALS,
    "object": OBJECTS,
    "color": COLORS,
    "gift": OBJECTS,
    "tint": COLORS,
    "food": FOODS + MASS_FOODS,
    "dish": FOODS + MASS_FOODS,
    "fruit": FOODS,
    "plant": PLANTS,
    "place": PLACES,
    "where": PLACES,
    "spot": SPOTS,
    "trait": TRAITS,
    "size": SIZES,
    "stature": STATURES,
    "glad": GLAD,
    "unhappy": UNHAPPY,
    "weather": WEATHER,
    "skill": SKILLS,
    "game": GAMES,
    "limb": LIMBS,
    "number": NUMBERS,
    "several": NUMBERS[1:],
}
# The later of two is drawn among what the earlier has left.
DIFFERENT = {
    "friend": "hero",
    "other": "animal",
    "gift": "object",
    "tint": "color",
    "dish": "food",
    "where": "place",
}


def is_girl(name: str) -> bool:
    """Whether a hero or friend is a girl; by the name alone, as no name is both."""
    return name in GIRLS


def plural(noun: str) -> str:
    """Form of a noun for two and more; those without, such as soup, stay."""
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun in MASS_FOODS:
        return noun
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh", "ato")) else f"{noun}s"


def article(following: str) -> str:
    """The form of a/an before a word; the world has no silent h and no word like uniform."""
    return "an" if following[0].lower() in "aeiou" else "a"


def counted(number: str, noun: str) -> str:
    """The noun as it follows a number."""
    return noun if number == "one" else plural(noun)


# Fact that another one decides -> (that other, the value for each of its values).
DERIVED = {
    "he": ("hero", lambda name: "she" if is_girl(name) else "he"),
    "him": ("hero", lambda name: "her" if is_girl(name) else "him"),
    "his": ("hero", lambda name: "her" if is_girl(name) else "his"),
    "himself": ("hero", lambda name: "herself" if is_girl(name) else "himself"),
    "child": ("hero", lambda name: "girl" if is_girl(name) else "boy"),
    "left": ("several", lambda number: NUMBERS[NUMBERS.index(number) - 1]),
    "was_number": ("number", lambda number: "was" if number == "one" else "were"),
    "was_left": ("left", lambda number: "was" if number == "one" else "were"),
}
