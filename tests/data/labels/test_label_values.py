import numpy as np
import pytest

from monai_wsss.data.labels.label_values import ABSENT, BLANK, PRESENT, UNCERTAIN, UNKNOWN, LabelPolicy, parse_label
from monai_wsss.errors import InputError


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            PRESENT,
            ["1", "1.0", "1,0", "+1", "TRUE", "yes", "Y", "ja", "J", "oui", "Positive", "present", "x"],
        ),
        (ABSENT, ["0", "0.0", "0,0", "-0", "False", "no", "N", "nein", "non", "NEGATIVE", "negativ", "absent"]),
        (
            UNCERTAIN,
            ["-1", "-1.0", "-1,0", "−1", "possible", "?", "yes?", "likely?", "no ?", "fraglich", "u"],
        ),
        (BLANK, ["", "  ", "NA", "n/a", "NaN", "None", "unknown", "-", "–"]),
        (None, ["2", "0.5", "10", "-2", "61", "M", "w", "maybe not", "+", "1 0", "1e0", "2?", "left", "normal"]),
    ],
)
def test_words(code, words):
    assert {word: parse_label(word) for word in words} == dict.fromkeys(words, code)


@pytest.mark.parametrize(
    ("policy", "labels"),
    [
        (LabelPolicy(), [1, 0, -1, -1, -1]),
        (LabelPolicy("zeros", "ones"), [1, 0, 1, 0, -1]),
        (LabelPolicy("ones", "zeros"), [1, 0, 0, 1, -1]),
        (LabelPolicy(0.25, "0.5"), [1, 0, 0.5, 0.25, -1]),  # numbers come as text from the command line
        (LabelPolicy("MASK", "0,5"), [1, 0, 0.5, -1, -1]),
    ],
)
def test_policies_decide_on_blank_and_uncertain_alone(policy, labels):
    codes = np.array([PRESENT, ABSENT, UNCERTAIN, BLANK, UNKNOWN])
    np.testing.assert_array_equal(policy.apply(codes), labels)
    np.testing.assert_array_equal(policy.apply([codes, codes]), [labels, labels])


def test_policy_as_plain_data():
    assert LabelPolicy("zeros", "0.5").to_json() == {"blank": "zeros", "uncertain": 0.5}


@pytest.mark.parametrize("value", ["maybe", "", "1.5", -0.1, "nan", "inf", True])
def test_other_policies_are_refused(value):
    with pytest.raises(InputError, match=r"uncertain labels: .* give mask, zeros, ones or a number from 0 to 1"):
        LabelPolicy(uncertain=value)
