"""Seeds of region growing, from masks and class maps."""

import torch

from monai_wsss.workflow.seed_labels import seed_labels


def case():
    """Slices of 4 x 4, body all but the last column: lesion of b and a rim; negative; no map; no map but a mask; a."""
    masks = torch.zeros(5, 1, 4, 4, dtype=torch.uint8)
    maps = torch.zeros(5, 2, 4, 4)
    masks[0, 0, 1, 1], maps[0, 1, 1, 1], maps[0, 0, 2, 2], maps[0, 1, 3, 0] = 2, 0.9, 0.1, 0.05
    masks[3, 0, 0, 0] = 1
    masks[4, 0, 0, 3], maps[4, 0, 0, 3], masks[4, 0, 2, 2] = 1, 0.8, 255
    body = torch.ones(5, 1, 4, 4, dtype=torch.bool)
    body[..., 3] = False
    return masks, maps, body, torch.tensor([False, True, False, False, False])


def test_by_hand():
    masks, maps, body, absent = case()
    seeds = seed_labels(masks, maps, 0.06, body, absent)[:, 0]
    x = 255
    assert seeds[0].tolist() == [[0, 0, 0, x], [0, 2, 0, x], [0, 0, x, x], [0, 0, 0, x]]  # 0.1 is open, 0.05 is not
    assert not seeds[1].any()  # absent for certain: the air too
    assert (seeds[2] == x).all() and (seeds[3] == x).all()  # without a map nothing is known
    assert seeds[4].tolist() == [[0, 0, 0, 1], [0, 0, 0, x], [0, 0, x, x], [0, 0, 0, x]]  # what was open stays open


def test_the_masks_are_not_changed_and_slices_do_not_mix():
    masks, maps, body, absent = case()
    before = masks.clone()
    whole = seed_labels(masks, maps, 0.06, body, absent)
    assert torch.equal(masks, before)
    for i in range(5):
        row = slice(i, i + 1)
        assert torch.equal(seed_labels(masks[row], maps[row], 0.06, body[row], absent[row]), whole[row])


def test_above_the_largest_value_nothing_in_the_body_is_open():
    masks, maps, body, absent = case()
    seeds = seed_labels(masks, maps, 1.0, body, absent)
    assert torch.equal(seeds[0][body[0]], masks[0][body[0]])
