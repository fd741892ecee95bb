"""How well a segmenter agrees with the pseudo masks."""

from ignite.metrics import ConfusionMatrix, DiceCoefficient, MetricsLambda

from monai_wsss.engines.outputs import label_output


def pseudo_mask_dice(num_labels: int) -> MetricsLambda:
    """Mean over the classes of Dice = 2 TP / (2 TP + FP + FN) with the CRF masks, over all pixels of the split at once.

    Ignored pixels (255) do not count; Ignite adds the counts of all processes.

    Args:
        num_labels: classes and background.
    """
    dice = DiceCoefficient(ConfusionMatrix(num_labels, output_transform=label_output), ignore_index=0)
    return dice.mean()
