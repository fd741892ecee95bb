"""From bags to what the trainer takes, and which weights it keeps."""

import torch

from monai_wsss.engines.prepare_batch import collate_bags, prepare_bag_batch


def bag(first, *lengths):
    count = sum(lengths)
    image = torch.arange(first, first + count, dtype=torch.float32)[:, None, None, None].expand(-1, 1, 2, 2)
    return {"image": image, "classes": torch.full((len(lengths), 3), float(first)), "lengths": list(lengths)}


def test_bags_stand_one_after_the_other():
    batch = collate_bags([bag(0, 3), bag(3, 1, 1), bag(5, 2)])
    assert batch["image"][:, 0, 0, 0].tolist() == list(range(7))
    assert batch["lengths"] == [3, 1, 1, 2]
    assert batch["classes"][:, 0].tolist() == [0, 3, 3, 5] and batch["classes"].shape == (4, 3)


def test_the_network_takes_the_lengths_besides():
    image, classes, args, options = prepare_bag_batch(collate_bags([bag(0, 2), bag(2, 1)]), "cpu")
    assert image.shape == (3, 1, 2, 2) and classes.shape == (2, 3) and args == ([2, 1],) and options == {}
