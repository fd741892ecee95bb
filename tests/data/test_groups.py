import random
from itertools import combinations

import pytest

from monai_wsss.data.groups import join_groups


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], {}),
        ([("a", None), ("b", "")], {"a": "a", "b": "b"}),  # no value links nothing
        ([("b", "x"), ("a", "x"), ("c", "y")], {"a": "a", "b": "a", "c": "c"}),
        # b is linked to a by x, c to b by y, d to c by z
        ([("a", "x"), ("b", "x"), ("b", "y"), ("c", "y"), ("d", "z"), ("c", "z")], dict.fromkeys("abcd", "a")),
        ([("a", "b"), ("b", "x")], {"a": "a", "b": "b"}),  # the group "b" is not the patient "b"
        ([("a", "x"), ("a", "x"), ("a", None)], {"a": "a"}),
    ],
)
def test_patients_who_share_a_value_are_one(pairs, expected):
    assert join_groups(pairs) == expected


@pytest.mark.parametrize("seed", range(5))
def test_properties(seed):
    rng = random.Random(seed)
    pairs = [(f"p{rng.randrange(30)}", rng.choice([None, *(f"g{i}" for i in range(25))])) for _ in range(40)]
    person = join_groups(pairs)
    assert set(person) == {patient for patient, _ in pairs}
    assert all(person[name] == name for name in person.values())  # a representative stands for itself
    assert all(person[patient] <= patient for patient in person)  # and comes first in the alphabet
    for (a, x), (b, y) in combinations(pairs, 2):
        if x is not None and x == y:
            assert person[a] == person[b]
    # as many people as a plain merging of sets leaves
    merged: list[set[str]] = []
    for value in {group for _, group in pairs if group}:
        members = {patient for patient, group in pairs if group == value}
        touching = [other for other in merged if other & members]
        merged = [other for other in merged if not other & members] + [members.union(*touching)]
    alone = set(person) - set().union(*merged)
    assert len(set(person.values())) == len(merged) + len(alone)
    rng.shuffle(pairs)
    assert join_groups(pairs) == person
