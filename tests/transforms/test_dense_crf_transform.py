import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd
from torch import Tensor

from monai_wsss.inferers.gated_slice import GatedSliceInferer
from monai_wsss.ops.dense_crf import dense_crf
from monai_wsss.transforms import GridPreprocessing, ProbabilityFromLogitsd
from monai_wsss.transforms.dense_crf import DenseCRFd

WIDTHS = {"sxy_gaussian": 3.0, "sxy_bilateral": 20.0}


def squares() -> tuple[Tensor, Tensor]:
    """Probabilities `(3, 20, 24, 4)` of two shifted squares, and the image; the third slice is all background."""
    generator = torch.Generator().manual_seed(0)
    image = 0.3 * torch.rand(1, 20, 24, 4, generator=generator)
    logits = torch.zeros(3, 20, 24, 4)
    logits[1:] = -2
    image[0, 4:12, 4:12], image[0, 10:18, 14:22] = 2.0, 4.0
    logits[1, 5:13, 6:14] = 2
    logits[2, 9:17, 13:21] = 2
    logits[1:, ..., 2] = -1
    return logits.softmax(dim=0), image


def by_hand(probability: Tensor, image: Tensor, pixel: float = 1.0, **arguments) -> Tensor:
    """The operator, slice by slice; the third is background and stays."""
    image = (image - image.min()) / (image.max() - image.min())
    widths = {name: width / pixel for name, width in WIDTHS.items()}
    slices = [dense_crf(probability[None, ..., i], image[None, ..., i], **widths, **arguments)[0] for i in range(4)]
    slices[2] = probability[..., 2]
    return torch.stack(slices, dim=-1)


def test_zero_iterations_leave_everything_as_it_is(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    probability, image = squares()
    assert DenseCRFd(iterations=0)({"pred": probability, "image": image})["pred"] is probability


class TestWithPydensecrf:
    @pytest.fixture(autouse=True)
    def _needs_pydensecrf(self):
        pytest.importorskip("pydensecrf")

    @pytest.mark.parametrize("pixel_spacing", [None, 1.0, 2.0])
    @pytest.mark.parametrize("iterations", [1, 10])
    def test_equals_the_operator_in_each_slice(self, pixel_spacing, iterations):
        probability, image = squares()
        transform = DenseCRFd("pred", pixel_spacing=pixel_spacing, iterations=iterations, **WIDTHS)
        refined = transform({"pred": probability, "image": 300 * image - 100})["pred"]
        expected = by_hand(probability, image, pixel_spacing or 1.0, iterations=iterations)
        torch.testing.assert_close(refined, expected, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(refined[..., 0], probability[..., 0], atol=0.1)

    def test_weights_and_intensity_width_reach_the_operator(self):
        probability, image = squares()
        arguments = {"srgb": 30.0, "weight_gaussian": 0.5, "weight_bilateral": 2.0}
        refined = DenseCRFd("pred", **WIDTHS, **arguments)({"pred": probability, "image": image})["pred"]
        torch.testing.assert_close(refined, by_hand(probability, image, **arguments), atol=1e-4, rtol=1e-4)

    def test_slices_without_a_lesion_stay_and_the_argument_too(self):
        probability, image = squares()
        before = probability.clone()
        refined = DenseCRFd("pred", **WIDTHS)({"pred": probability, "image": image})["pred"]
        assert torch.equal(refined[..., 2], before[..., 2])
        assert torch.equal(probability, before)
        negative = torch.tensor([0.6, 0.4, 0.0]).reshape(3, 1, 1, 1).expand(3, 20, 24, 4)
        assert torch.equal(DenseCRFd("pred")({"pred": negative, "image": image})["pred"], negative)

    def test_moves_the_labels_onto_the_objects(self):
        probability, image = squares()
        refined = DenseCRFd("pred", **WIDTHS)({"pred": probability, "image": image})["pred"]
        truth = (image[0] == 2) + 2 * (image[0] == 4)
        truth[..., 2] = 0
        assert (probability.argmax(dim=0) != truth).sum() > 50
        assert (refined.argmax(dim=0) != truth).sum() < 12

    def test_slices_follow_their_order_and_classes_theirs(self):
        probability, image = squares()
        transform, order = DenseCRFd("pred", **WIDTHS), [3, 1, 0, 2]
        refined = transform({"pred": probability, "image": image})["pred"]
        again = transform({"pred": probability[..., order], "image": image[..., order]})["pred"]
        torch.testing.assert_close(again, refined[..., order])
        swapped = transform({"pred": probability[[0, 2, 1]], "image": image})["pred"]
        torch.testing.assert_close(swapped, refined[[0, 2, 1]], atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("scales", [(1.0,), (0.75, 1.0)])
    def test_classes_that_are_gated_off_stay_off(self, scales):
        probability, image = squares()

        class Classifier(torch.nn.Module):  # sees class 1 everywhere, class 2 nowhere
            def forward(self, x: Tensor) -> Tensor:
                return torch.tensor([[9.0, -9.0]]).expand(len(x), 2)

        numbers = iter(probability.log().movedim(-1, 0).repeat_interleave(len(scales), dim=0))
        infer = GatedSliceInferer(Classifier(), sw_batch_size=1, scales=scales)
        logits = infer(image[None], lambda x: next(numbers)[None])[0]
        item = ProbabilityFromLogitsd("pred")({"pred": logits, "image": image})
        assert not item["pred"][2].any() and (item["pred"].argmax(dim=0) == 1).any()
        refined = DenseCRFd("pred", **WIDTHS)(item)["pred"]
        assert not refined[2].any()
        assert (refined.argmax(dim=0)[..., 0] == 1).any()
        torch.testing.assert_close(refined.sum(dim=0), torch.ones(20, 24, 4))

    def test_sigmoid_head(self):
        # z counts as (0, z): background 1 - p, lesion p
        probability, image = squares()
        lesion = probability[1:2] / (probability[:1] + probability[1:2])
        item = ProbabilityFromLogitsd("pred")({"pred": torch.logit(lesion), "image": image})
        refined = DenseCRFd("pred", **WIDTHS)(item)["pred"]
        expected = by_hand(torch.cat([1 - lesion, lesion]), image)
        torch.testing.assert_close(refined, expected, atol=1e-4, rtol=1e-4)

    def test_half_precision_and_a_flat_image(self):
        probability, image = squares()
        refined = DenseCRFd("pred", **WIDTHS)({"pred": probability.half(), "image": torch.full_like(image, 7.0)})[
            "pred"
        ]
        assert refined.dtype == torch.float32 and refined.isfinite().all()

    def test_before_invertd(self, tmp_path):
        affine = np.diag([-0.8, 1.1, 4.0, 1.0])
        affine[:3, 3] = 10, -20, 30
        values = np.zeros((30, 26, 3), np.float32)
        values[4:26, 4:22] = 100 + np.random.default_rng(0).random((22, 18, 3))
        values[10:18, 8:14, 1] = 300
        nib.save(nib.Nifti1Image(values, affine), tmp_path / "v.nii")
        grid = GridPreprocessing(pixel_spacing=1.0, size=(32, 32), clip=(0, 100))
        item = grid({"image": str(tmp_path / "v.nii")})
        bright = item["image"][0] > 0.7 * item["image"].max()
        logits = torch.where(bright.as_tensor(), 1.0, -1.0).roll(2, dims=0)  # beside the lesion
        pred = MetaTensor(torch.stack([-logits, logits])).copy_meta_from(item["image"])
        back = Compose(
            [
                ProbabilityFromLogitsd("pred"),
                DenseCRFd("pred", pixel_spacing=1.0, **WIDTHS),
                Invertd("pred", grid, orig_keys="image", nearest_interp=False, to_tensor=True),
            ]
        )({**item, "pred": pred})
        assert back["pred"].shape == (2, 30, 26, 3)
        np.testing.assert_allclose(back["pred"].affine, affine)
        assert back["pred"].meta["filename_or_obj"] == item["image"].meta["filename_or_obj"]
        mask, truth = back["pred"].argmax(dim=0).numpy(), values == 300
        assert 2 * (mask * truth).sum() / (mask.sum() + truth.sum()) > 0.9
        torch.testing.assert_close(back["image"], item["image"])

    def test_metadata_stays(self):
        probability, image = squares()
        affine = torch.diag(torch.tensor([0.5, 2.0, 3.0, 1.0])).double()
        pred = MetaTensor(probability, affine=affine, meta={"case": "p7"})
        pred.push_applied_operation({"class": "X", "id": 1})
        refined = DenseCRFd("pred", **WIDTHS)({"pred": pred, "image": MetaTensor(image)})["pred"]
        assert isinstance(refined, MetaTensor) and refined.meta["case"] == "p7"
        assert refined.applied_operations == [{"class": "X", "id": 1}]
        torch.testing.assert_close(refined.affine, affine)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"iterations": -1}, "iterations must be >= 0"),
        ({"pixel_spacing": 0.0}, "pixel_spacing must be positive"),
    ],
)
def test_refuses_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        DenseCRFd("pred", **arguments)


@pytest.mark.parametrize(
    ("pred", "image"), [((1, 4, 4, 2), (1, 4, 4, 2)), ((2, 4, 4), (1, 4, 4)), ((2, 4, 4, 2), (1, 4, 5, 2))]
)
def test_refuses_shapes(pred, image):
    with pytest.raises(ValueError, match=r"needs probabilities \(L, H, W, D\), L >= 2"):
        DenseCRFd("pred")({"pred": torch.zeros(pred), "image": torch.zeros(image)})
