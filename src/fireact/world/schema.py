"""What kinds of things a world holds, which relations they have, and how English says so. Pure data.

`WORLD` is the schema of the shipped world and of its tasks. `PRACTICE` shares no relation with it: the episodes that
the base model sees in pretraining are about ships, stars and dishes, so that an episode about novels and towns is as
new to it as a benchmark is to a real base model.

In all wordings `{s}` stands for the subject and `{v}` for the value. A relation's phrases stand for its value, so
wordings nest: "In which town was {s} born?" with {s} = "the author of The Silver Gate".
"""

from __future__ import annotations

from dataclasses import dataclass

YEAR = "year"
"""Target of relations whose value is a year."""


@dataclass(frozen=True)
class Relation:
    """A property of a kind of entity."""

    name: str
    targets: tuple[str, ...]
    """Kinds of entities that can be the value, or `(YEAR,)`, or the name of a list in `WORDS`."""
    sentences: tuple[str, ...]
    questions: tuple[str, ...]
    phrases: tuple[str, ...]
    earlier: tuple[str, ...] = ()
    """Questions of comparison between {a} and {b}, for years: which has the earlier one."""
    later: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """A kind of entity."""

    name: str
    naming: str
    """Which style of name it has: `person`, `place`, `title` or `house` (a word and the kind)."""
    openings: tuple[str, ...]
    relations: tuple[Relation, ...]

    def relation(self, name: str) -> Relation:
        return next(relation for relation in self.relations if relation.name == name)


@dataclass(frozen=True)
class Schema:
    """Kinds in an order in which each needs only earlier ones, except where `late` says that values come last."""

    kinds: tuple[Kind, ...]

    def kind(self, name: str) -> Kind:
        return next(kind for kind in self.kinds if kind.name == name)


WORDS: dict[str, tuple[str, ...]] = {
    "occupation": (
        "painter", "doctor", "lawyer", "teacher", "pilot", "chemist", "baker", "judge", "sculptor", "surgeon",
        "dancer", "farmer", "printer", "tailor", "miner", "banker",
    ),
    "animal": (
        "lion", "falcon", "stag", "bear", "wolf", "swan", "horse", "badger", "hawk", "fox", "bull", "raven",
    ),
    "cargo": ("grain", "salt", "timber", "wool", "copper", "wine", "coal", "tea", "silk", "iron"),
    "colour": ("red", "blue", "white", "yellow", "green", "violet", "amber", "grey"),
    "food": ("barley", "honey", "pepper", "garlic", "cabbage", "rice", "ginger", "butter", "cheese", "fish"),
    "material": ("stone", "steel", "oak", "marble", "brick", "granite", "bronze", "glass"),
}  # fmt: skip


def _founded() -> Relation:
    return Relation(
        "founded",
        (YEAR,),
        ("{s} was founded in {v}.", "{s} dates from {v}.", "{s} was established in {v}."),
        ("In which year was {s} founded?", "When was {s} founded?"),
        ("the year in which {s} was founded",),
        ("Which was founded earlier, {a} or {b}?", "Which is older, {a} or {b}?"),
        ("Which was founded later, {a} or {b}?", "Which is younger, {a} or {b}?"),
    )


def _work(kind: str, *, maker: str, made: str, makes: str) -> Kind:
    """Novels, films and operas differ in who makes them and how one says so."""
    return Kind(
        kind,
        "title",
        (f"{{s}} is {'an' if kind[0] in 'aeiou' else 'a'} {kind}.",),
        (
            Relation(
                maker,
                ("person",),
                (f"{{s}} was {made} by {{v}}.", f"The {maker} of {{s}} is {{v}}."),
                (f"Who {makes} {{s}}?", f"Who is the {maker} of {{s}}?"),
                (f"the {maker} of {{s}}", f"the person who {makes} {{s}}"),
            ),
            Relation(
                "released",
                (YEAR,),
                ("{s} came out in {v}.", "{s} was first shown to the public in {v}."),
                ("In which year did {s} come out?", "When did {s} come out?"),
                ("the year in which {s} came out",),
                (f"Which {kind} came out earlier, {{a}} or {{b}}?", f"Which {kind} is older, {{a}} or {{b}}?"),
                (f"Which {kind} came out later, {{a}} or {{b}}?", f"Which {kind} is newer, {{a}} or {{b}}?"),
            ),
            Relation(
                "setting",
                ("town",),
                ("{s} is set in {v}.", "{s} takes place in {v}."),
                ("In which town is {s} set?", "Where does {s} take place?"),
                ("the town where {s} is set", "the town in which {s} takes place"),
            ),
        ),
    )


def _house(kind: str) -> Kind:
    """Companies and schools."""
    return Kind(
        kind,
        "house",
        (f"{{s}} is a {kind}.",),
        (
            Relation(
                "founder",
                ("person",),
                ("{s} was founded by {v}.", "The founder of {s} is {v}."),
                ("Who founded {s}?", "Who is the founder of {s}?"),
                ("the founder of {s}", "the person who founded {s}"),
            ),
            Relation(
                "seat",
                ("town",),
                ("{s} has its seat in {v}.", "{s} is based in {v}."),
                ("In which town does {s} have its seat?", "Where is {s} based?"),
                ("the town where {s} is based", "the seat of {s}"),
            ),
            _founded(),
        ),
    )


WORLD = Schema(
    (
        Kind(
            "region",
            "place",
            ("{s} is a region.",),
            (
                Relation(
                    "capital",
                    ("town",),
                    ("The capital of {s} is {v}.", "{s} is governed from {v}."),
                    ("What is the capital of {s}?", "Which town is the capital of {s}?"),
                    ("the capital of {s}",),
                ),
                Relation(
                    "emblem",
                    ("animal",),
                    ("The emblem of {s} is a {v}.", "The flag of {s} shows a {v}."),
                    ("Which animal is the emblem of {s}?", "What animal does the flag of {s} show?"),
                    ("the emblem of {s}",),
                ),
            ),
        ),
        Kind(
            "town",
            "place",
            ("{s} is a town.",),
            (
                Relation(
                    "region",
                    ("region",),
                    ("{s} lies in {v}.", "{s} belongs to the region of {v}."),
                    ("In which region is {s}?", "Which region does {s} belong to?"),
                    ("the region of {s}", "the region in which {s} lies"),
                ),
                Relation(
                    "river",
                    ("river",),
                    ("The river {v} flows through {s}.", "{s} stands on the river {v}."),
                    ("Which river flows through {s}?", "On which river does {s} stand?"),
                    ("the river of {s}",),
                ),
                _founded(),
            ),
        ),
        Kind(
            "person",
            "person",
            (),
            (
                Relation(
                    "occupation",
                    ("occupation",),
                    ("{s} is a {v}.", "{s} works as a {v}."),
                    ("What is the occupation of {s}?", "What does {s} work as?"),
                    ("the occupation of {s}",),
                ),
                Relation(
                    "birthplace",
                    ("town",),
                    ("{s} was born in {v}.", "{s} comes from {v}."),
                    ("In which town was {s} born?", "Where was {s} born?"),
                    ("the birthplace of {s}", "the town where {s} was born"),
                ),
                Relation(
                    "born",
                    (YEAR,),
                    ("{s} was born in the year {v}.", "The birth year of {s} is {v}."),
                    ("In which year was {s} born?", "When was {s} born?"),
                    ("the birth year of {s}",),
                    ("Who was born earlier, {a} or {b}?", "Who is older, {a} or {b}?"),
                    ("Who was born later, {a} or {b}?", "Who is younger, {a} or {b}?"),
                ),
                Relation(
                    "employer",
                    ("company", "school"),
                    ("{s} works for {v}.", "{s} is employed by {v}."),
                    ("Who employs {s}?", "Which company or school does {s} work for?"),
                    ("the employer of {s}",),
                ),
            ),
        ),
        _work("novel", maker="author", made="written", makes="wrote"),
        _work("film", maker="director", made="directed", makes="directed"),
        _work("opera", maker="composer", made="composed", makes="composed"),
        _house("company"),
        _house("school"),
    )
)


def _simple(name: str, targets: tuple[str, ...], noun: str, sentence: str, question: str) -> Relation:
    """A relation of the practice schema, which needs fewer wordings."""
    return Relation(
        name,
        targets,
        (sentence, f"The {noun} of {{s}} is {{v}}."),
        (question, f"What is the {noun} of {{s}}?"),
        (f"the {noun} of {{s}}",),
        (f"Which has the earlier {noun}, {{a}} or {{b}}?",) if targets == (YEAR,) else (),
        (f"Which has the later {noun}, {{a}} or {{b}}?",) if targets == (YEAR,) else (),
    )


PRACTICE = Schema(
    (
        Kind(
            "island",
            "place",
            ("{s} is an island.",),
            (
                _simple("governor", ("sailor",), "governor", "{s} is ruled by {v}.", "Who rules {s}?"),
                _simple("bird", ("animal",), "symbol", "{s} is known for the {v}.", "What is {s} known for?"),
            ),
        ),
        Kind(
            "harbour",
            "place",
            ("{s} is a harbour.",),
            (
                _simple("island", ("island",), "island", "{s} is found on {v}.", "On which island is {s} found?"),
                _simple(
                    "keeper", ("sailor",), "keeper", "The light of {s} is kept by {v}.", "Who keeps the light of {s}?"
                ),
                _simple("opening", (YEAR,), "opening year", "{s} opened in {v}.", "When did {s} open?"),
            ),
        ),
        Kind(
            "sailor",
            "person",
            ("{s} is a sailor.", "{s} is a scholar.", "{s} is a cook.", "{s} is a rider."),
            (
                _simple("home", ("harbour",), "home", "{s} lives in {v}.", "Where does {s} live?"),
                _simple("uncle", ("sailor",), "uncle", "The uncle of {s} is called {v}.", "Who is the uncle of {s}?"),
                _simple("death", (YEAR,), "death year", "{s} died in {v}.", "When did {s} die?"),
                _simple("food", ("food",), "favourite food", "{s} likes {v}.", "What does {s} like?"),
            ),
        ),
        Kind(
            "ship",
            "title",
            ("{s} is a ship.",),
            (
                _simple("captain", ("sailor",), "captain", "{s} is commanded by {v}.", "Who commands {s}?"),
                _simple("port", ("harbour",), "home port", "{s} sails from {v}.", "From where does {s} sail?"),
                _simple("launch", (YEAR,), "launch year", "{s} was launched in {v}.", "When was {s} launched?"),
                _simple("cargo", ("cargo",), "cargo", "{s} carries {v}.", "What does {s} carry?"),
            ),
        ),
        Kind(
            "star",
            "place",
            ("{s} is a star.",),
            (
                _simple("finder", ("sailor",), "finder", "{s} was found by {v}.", "Who found {s}?"),
                _simple("finding", (YEAR,), "year of finding", "{s} was found in {v}.", "When was {s} found?"),
                _simple("colour", ("colour",), "colour", "{s} shines {v}.", "How does {s} shine?"),
            ),
        ),
        Kind(
            "dish",
            "title",
            ("{s} is a dish.",),
            (
                _simple("inventor", ("sailor",), "inventor", "{s} was first cooked by {v}.", "Who first cooked {s}?"),
                _simple("origin", ("island",), "origin", "{s} is eaten on {v}.", "On which island is {s} eaten?"),
                _simple("ingredient", ("food",), "main part", "{s} is made with {v}.", "What is {s} made with?"),
            ),
        ),
        Kind(
            "bridge",
            "house",
            ("{s} is a bridge.",),
            (
                _simple("builder", ("sailor",), "builder", "{s} was built by {v}.", "Who built {s}?"),
                _simple("place", ("harbour",), "place", "{s} stands in {v}.", "Where does {s} stand?"),
                _simple("age", (YEAR,), "building year", "{s} was built in {v}.", "When was {s} built?"),
                _simple("material", ("material",), "material", "{s} is made of {v}.", "What is {s} made of?"),
            ),
        ),
        Kind(
            "horse",
            "place",
            ("{s} is a horse.",),
            (
                _simple("rider", ("sailor",), "rider", "{s} is ridden by {v}.", "Who rides {s}?"),
                _simple("stable", ("harbour",), "stable", "{s} is kept in {v}.", "Where is {s} kept?"),
                _simple("race", (YEAR,), "winning year", "{s} won a race in {v}.", "When did {s} win a race?"),
            ),
        ),
    )
)
