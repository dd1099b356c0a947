"""world/thoughts.py: the steps of a thought that a small model can follow, written out."""

import pytest

from fireact.world.thoughts import asked_year, check_page, compare_years


def test_a_page_is_the_one_that_was_searched_or_is_named():
    assert check_page("Lolo") == "About Lolo? yes."
    assert check_page("Lolo", "Bana") == "About Lolo? no, about Bana."


def test_the_year_that_is_asked_for_is_one_word():
    assert asked_year(later=True) == "The year asked: later"
    assert asked_year(later=False) == "The year asked: earlier"


@pytest.mark.parametrize(
    ("years", "later", "thought"),
    [
        (("1766", "1978"), True, "A 1766, B 1978: 1 1, 7 9: earlier A, later B. The year asked: later B."),
        (("1766", "1978"), False, "A 1766, B 1978: 1 1, 7 9: earlier A, later B. The year asked: earlier A."),
        (("1905", "1901"), False, "A 1905, B 1901: 1 1, 9 9, 0 0, 5 1: later A, earlier B. The year asked: earlier B."),
        (("2001", "1999"), True, "A 2001, B 1999: 2 1: later A, earlier B. The year asked: later A."),
    ],
)
def test_years_are_compared_up_to_the_first_digit_in_which_they_differ(years, later, thought):
    assert compare_years(("A", "B"), years, later=later) == thought
