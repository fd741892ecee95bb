"""Which class a mirror image makes of each class."""

import pytest

from monai_wsss.data.laterality import mirror_classes

LOBES = ["RUL", "RML", "RLL", "LUL", "LLL"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["lesion"], (0,)),
        (["oedema", "necrosis"], (0, 1)),
        (["left effusion", "right effusion"], (1, 0)),
        (["right effusion", "nodule", "LEFT Effusion"], (2, 1, 0)),
        (["Effusion_L", "Effusion_R", "Cardiomegaly"], (1, 0, 2)),
        (["Lt. effusion", "rt effusion"], (1, 0)),
        (["EffusionLeft", "EffusionRight"], (1, 0)),
        (["PneumothoraxL", "PneumothoraxR"], (1, 0)),
        (["left-sided effusion", "right-sided effusion"], (1, 0)),
        (["effusion (left)", "right effusion"], (1, 0)),  # the words' order does not matter
        (["left a", "left b", "right b", "right a"], (3, 2, 1, 0)),
        (["Erguss links", "Erguss rechts"], (1, 0)),
        (["linker Hirninfarkt", "rechter Hirninfarkt"], (1, 0)),
        (["Erguss linksseitig", "Erguss rechtsseitig"], (1, 0)),
        (["Erguss li.", "Erguss re."], (1, 0)),
        (["épanchement gauche", "épanchement droit", "lésion gauche", "lésion droite"], (1, 0, 3, 2)),
        (["opacité de l'apex gauche", "opacité de l'apex droit"], (1, 0)),  # l' is an article and no side
        (["derrame izquierdo", "derrame derecho"], (1, 0)),
        (["versamento sinistro", "versamento destro"], (1, 0)),
        (["derrame esquerdo", "derrame direito"], (1, 0)),
        (["LLL", "RLL"], (1, 0)),
        (["bilateral effusion", "left and right effusion"], (0, 1)),  # both sides stay both
        (["bright spot", "leftover", "copyright", "upright", "Dioptre"], (0, 1, 2, 3, 4)),
        (["over 30 ml", "over30mL", "L4", "T1"], (0, 1, 2, 3)),
        # a side without its partner
        (["left effusion"], None),
        (["left effusion", "right nodule"], None),
        (["left effusion", "effusion"], None),
        (["Effusion_L"], None),
        (["left effusion", "Effusion left", "right effusion"], None),  # which of the two?
        (["right left-handed", "lesion"], (0, 1)),
        (LOBES, None),
        (["RUL", "LUL", "RLL", "LLL"], (1, 0, 3, 2)),
        ([], ()),
    ],
)
def test_table(labels, expected):
    assert mirror_classes(labels) == expected


@pytest.mark.parametrize("labels", [["left a", "b", "right a"], ["c", "a_R", "d_L", "a_L", "d_R"]])
def test_twice_is_nothing_and_the_order_of_the_classes_is_free(labels):
    permutation = mirror_classes(labels)
    assert [permutation[k] for k in permutation] == list(range(len(labels)))
    pairs = {(labels[k], labels[other]) for k, other in enumerate(permutation)}
    turned = mirror_classes(labels[::-1])
    assert {(labels[::-1][k], labels[::-1][other]) for k, other in enumerate(turned)} == pairs
