import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage

from monai_wsss.ops.region_growing import grow_seeds, one_hot_seeds

RULES = pytest.mark.parametrize("rule", ["paper", "reference_code"])


def label_map(*rows: str) -> torch.Tensor:
    """Labels ``(1, 1, H, W)`` written as digits, a dot for 255."""
    values = [[255 if character == "." else int(character) for character in row] for row in rows]
    return torch.tensor(values, dtype=torch.uint8)[None, None]


def sure_of(labels: torch.Tensor, num_labels: int = 3, confidence: float = 0.995) -> torch.Tensor:
    """Probabilities that are sure of a label, and flat where it is 255."""
    target = one_hot_seeds(labels, num_labels)
    probability = torch.where(target, confidence, (1 - confidence) / (num_labels - 1))
    return probability.where(labels != 255, 1 / num_labels)


def text(seeds: torch.Tensor) -> tuple[str, ...]:
    """One image of single labels as rows of digits."""
    assert seeds.sum(dim=1).max() <= 1
    return tuple(
        "".join("".join(str(c) for c in pixel.nonzero().flatten().tolist()) or "." for pixel in row)
        for row in seeds[0].movedim(0, -1)
    )


def random_case(shape=(9, 11), batch=3, labels=4, seeded=0.1, sure=0.6, overlap=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    at = torch.randint(0, labels, (batch, 1, *shape), generator=generator)
    seeds = one_hot_seeds(at.masked_fill(torch.rand(at.shape, generator=generator) > seeded, 255), labels)
    if overlap:
        seeds |= torch.rand(seeds.shape, generator=generator) < seeded / labels
    winner = torch.randint(0, labels, (batch, 1, *shape), generator=generator)
    return seeds, sure_of(winner.masked_fill(torch.rand(at.shape, generator=generator) > sure, 255), labels)


@pytest.mark.parametrize(
    ("seeds", "sure", "paper", "code"),
    [
        (["1...."], [".11.1"], ["111.."], None),  # along a chain, not over a gap
        (["1..", "...", "..."], ["...", ".1.", "..1"], ["1..", ".1.", "..1"], None),  # over corners
        ([".1."], ["1.1"], ["111"], None),  # a seed conducts where the network is unsure
        (["1..2"], [".12."], ["1122"], None),
        (["0.1."], ["000."], ["001."], None),  # a seed of another class stays
        (["....", "...."], ["1111", "2200"], ["....", "...."], None),  # nothing to grow from
        (["0000"], ["1112"], ["0000"], None),  # a lesion-free image
        (["1..."], ["..22"], ["1..."], None),  # sure of a class without a seed
        # another class's seed blocks in the paper; in the code the region runs through it and does not take it
        (["10."], [".11"], ["10."], ["101"]),
        # a seed that the network is sure is something else: it still conducts in the paper, in the code it is lost
        (["1.."], ["011"], ["111"], ["1.."]),
    ],
)
def test_by_hand(seeds, sure, paper, code):
    arguments = one_hot_seeds(label_map(*seeds), 3), sure_of(label_map(*sure))
    assert text(grow_seeds(*arguments)) == tuple(paper)
    assert text(grow_seeds(*arguments, rule="reference_code")) == tuple(code or paper)


@pytest.mark.parametrize(("label", "threshold"), [(0, "background"), (1, "foreground")])
def test_at_the_threshold_the_paper_grows_and_the_code_does_not(label, threshold):
    seeds = one_hot_seeds(label_map(f"{label}..."), 2)
    probability = sure_of(label_map(f".{label}{label}{label}"), 2, confidence=0.75)
    limits = {"foreground": 0.9, "background": 0.9, threshold: 0.75}
    assert text(grow_seeds(seeds, probability, **limits)) == (f"{label}" * 4,)
    assert text(grow_seeds(seeds, probability, rule="reference_code", **limits)) == (f"{label}...",)
    limits[threshold] = 0.7501
    assert text(grow_seeds(seeds, probability, **limits)) == (f"{label}...",)
    limits[threshold] = 0.7499
    assert text(grow_seeds(seeds, probability, rule="reference_code", **limits)) == (f"{label}" * 4,)


def test_only_the_code_leaves_classes_without_seeds_out_of_the_arg_max():
    seeds = one_hot_seeds(label_map("1.."), 3)
    probability = torch.tensor([0.1, 0.4, 0.5]).reshape(1, 3, 1, 1).expand(1, 3, 1, 3)
    assert text(grow_seeds(seeds, probability, foreground=0.3)) == ("1..",)
    assert text(grow_seeds(seeds, probability, foreground=0.3, rule="reference_code")) == ("111",)


def test_background_takes_part_in_the_codes_arg_max_without_seeds():
    seeds = one_hot_seeds(label_map("1.."), 3)
    probability = torch.tensor([0.5, 0.4, 0.1]).reshape(1, 3, 1, 1).expand(1, 3, 1, 3)
    assert text(grow_seeds(seeds, probability, 0.3, 0.3, rule="reference_code")) == ("1..",)


class TestSeedsOfSeveralClasses:
    def seeds(self) -> torch.Tensor:
        seeds = one_hot_seeds(label_map("1..."), 3)
        seeds[0, 2, 0, 0] = True
        return seeds

    @pytest.mark.parametrize(
        ("label", "rule", "grown"),
        [
            (1, "paper", [0, 1]),
            (2, "paper", [0, 1]),
            (1, "reference_code", [0]),  # the map holds 2 at the seed: class 1 has none to grow from
            (2, "reference_code", [0, 1]),
        ],
    )
    def test_each_grows_its_own(self, label, rule, grown):
        result = grow_seeds(self.seeds(), sure_of(label_map(f".{label}..")), rule=rule)
        assert result[0, label, 0].nonzero().flatten().tolist() == grown
        assert result[0, 3 - label, 0].nonzero().flatten().tolist() == [0]

    @pytest.mark.parametrize(
        ("other", "rule", "carried"),
        [
            (False, "paper", [0]),
            (False, "reference_code", [0]),  # a seed of exactly one class, another one
            (True, "paper", [0, 1]),
            (True, "reference_code", [0, 1, 2]),  # of two others: takes a third
        ],
    )
    def test_a_pixel_of_two_may_get_a_third_in_the_code(self, other, rule, carried):
        seeds = one_hot_seeds(label_map("20"), 3)
        seeds[0, 1, 0, 1] = other
        result = grow_seeds(seeds, sure_of(label_map("22")), rule=rule)
        assert result[0, :, 0, 1].nonzero().flatten().tolist() == carried


def by_scipy(seeds, probability, structure):
    """The paper's rule by labelled components; thresholds .85 and .99."""
    seeds, probability = seeds.numpy(), probability.numpy()
    limits = np.full(seeds.shape[1], 0.85, np.float32)
    limits[0] = 0.99
    grown = seeds.copy()
    for b, c in np.ndindex(seeds.shape[:2]):
        passing = (probability[b, c] >= limits[c]) & (probability[b].argmax(axis=0) == c)
        regions, _ = ndimage.label(passing & ~seeds[b].any(axis=0) | seeds[b, c], structure)
        found = np.unique(regions[seeds[b, c]])
        grown[b, c] = np.isin(regions, found[found > 0])
    return torch.from_numpy(grown)


def by_the_codes_steps(seeds, probability, structure):
    """The code's rule, class by class and pixel by pixel, on what the pixels carry at that moment."""
    carried, probability = seeds.numpy().copy(), probability.numpy()
    for b in range(len(carried)):
        present = [c for c in range(carried.shape[1]) if c == 0 or carried[b, c].any()]
        labels = np.full(carried.shape[2:], -1)
        for c in present:
            labels[carried[b, c]] = c
        for at in np.ndindex(labels.shape):
            best = max(present, key=lambda c: probability[(b, c, *at)])
            if probability[(b, best, *at)] > (0.85 if best else 0.99):
                labels[at] = best
        for c in present:
            regions, _ = ndimage.label(labels == c, structure)
            keep = set(regions[carried[b, c]].tolist()) - {0}
            for at in zip(*np.nonzero(labels == c), strict=True):
                here = carried[(b, slice(None), *at)]
                if here.sum() == 1 and not here[c]:
                    continue
                if regions[at] in keep:
                    carried[(b, c, *at)] = True
    return torch.from_numpy(carried)


def neighbours(dims: int, in_plane: bool = False) -> np.ndarray:
    structure = np.ones((3,) * dims, bool)
    if in_plane:
        structure[[0, -1]] = False
    return structure


@pytest.mark.parametrize(("rule", "oracle"), [("paper", by_scipy), ("reference_code", by_the_codes_steps)])
@pytest.mark.parametrize("sure", [0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("seeded", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("overlap", [False, True])
class TestEqualsScipy:
    def test_2d(self, rule, oracle, sure, seeded, overlap):
        case = random_case(sure=sure, seeded=seeded, overlap=overlap)
        assert torch.equal(grow_seeds(*case, rule=rule), oracle(*case, neighbours(2)))

    @pytest.mark.parametrize("in_plane", [False, True])
    def test_3d(self, rule, oracle, sure, seeded, overlap, in_plane):
        case = random_case((4, 5, 6), batch=2, labels=3, sure=sure, seeded=seeded, overlap=overlap)
        expected = oracle(*case, neighbours(3, in_plane))
        spacing = [5.0, 1.0, 1.0] if in_plane else [1.0, 1.0, 1.0]
        assert torch.equal(grow_seeds(*case, rule=rule, spacing=spacing), expected)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_visiting_process(seed):
    """V_c as the paper tells it: visit the seeds, label their neighbours, until nothing changes."""
    seeds, probability = random_case((6, 7), batch=1, labels=3, sure=0.7, seed=seed)
    free, expected = ~seeds.any(dim=1)[0], seeds.clone()
    steps = list(itertools.product((-1, 0, 1), repeat=2))
    for c in range(3):
        passes = (probability[0, c] >= (0.85 if c else 0.99)) & (probability[0].argmax(dim=0) == c) & free
        visit = seeds[0, c].nonzero().tolist()
        while visit:
            row, column = visit.pop()
            for i, j in ((row + i, column + j) for i, j in steps):
                if 0 <= i < 6 and 0 <= j < 7 and passes[i, j] and not expected[0, c, i, j]:
                    expected[0, c, i, j] = True
                    visit.append([i, j])
    assert torch.equal(grow_seeds(seeds, probability), expected)


def test_in_plane_does_not_leave_a_slice():
    seeds = torch.zeros(1, 2, 2, 1, 3, dtype=torch.bool)
    seeds[0, 1, 0, 0, 0] = True
    probability = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1, 1).expand(1, 2, 2, 1, 3)
    for spacing in ([1.0, 1.0, 1.0], [0.5, 0.5, 0.502]):
        assert grow_seeds(seeds, probability, spacing=spacing).sum() == 6
    for spacing in (None, [5.0, 1.0, 1.0], [1.0, 1.0, 1.1]):
        assert grow_seeds(seeds, probability, spacing=spacing).flatten(2)[0, 1].tolist() == [True] * 3 + [False] * 3
    for spacing in ([1.0, 1.0], [1.0, 1.0, 0.0]):
        with pytest.raises(ValueError, match="spacing must be 3 lengths > 0"):
            grow_seeds(seeds, probability, spacing=spacing)


@RULES
class TestProperties:
    def test_batch_equals_single(self, rule):
        seeds, probability = random_case(overlap=True)
        single = [grow_seeds(s[None], p[None], rule=rule) for s, p in zip(seeds, probability, strict=True)]
        assert torch.equal(grow_seeds(seeds, probability, rule=rule), torch.cat(single))

    @pytest.mark.parametrize("axes", [(-1,), (-2,), (-2, -1)])
    def test_flips(self, rule, axes):
        case = random_case(overlap=True)
        flipped = grow_seeds(*(x.flip(axes) for x in case), rule=rule)
        assert torch.equal(flipped.flip(axes), grow_seeds(*case, rule=rule))

    def test_transposes(self, rule):
        case = random_case()
        assert torch.equal(grow_seeds(*(x.mT for x in case), rule=rule).mT, grow_seeds(*case, rule=rule))

    def test_permutes_with_the_classes(self, rule):
        case, order = random_case(), [0, 3, 1, 2]
        permuted = grow_seeds(*(x[:, order] for x in case), rule=rule)
        assert torch.equal(permuted, grow_seeds(*case, rule=rule)[:, order])

    def test_keeps_the_seeds_and_stops(self, rule):
        seeds, probability = random_case(overlap=True)
        grown = grow_seeds(seeds, probability, rule=rule)
        assert (grown & seeds).sum() == seeds.sum() < grown.sum()
        assert torch.equal(grow_seeds(grown, probability, rule=rule), grown)

    @pytest.mark.parametrize("off", ["grow_foreground", "grow_background"])
    def test_switches(self, rule, off):
        # labels 0 and 1 each in its half; what one does is not the other's business
        seeds = one_hot_seeds(label_map("0...", "....", "1..."), 2)
        probability = sure_of(label_map("0000", "....", "1111"), 2)
        grown = grow_seeds(seeds, probability, rule=rule, **{off: False})
        expected = {"grow_foreground": ("0000", "....", "1..."), "grow_background": ("0...", "....", "1111")}
        assert text(grown) == expected[off]
        assert text(grow_seeds(seeds, probability, rule=rule)) == ("0000", "....", "1111")

    def test_both_switched_off_leaves_the_seeds(self, rule):
        seeds, probability = random_case()
        off = grow_seeds(seeds, probability, rule=rule, grow_foreground=False, grow_background=False)
        assert torch.equal(off, seeds)

    @pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16, torch.float64])
    def test_other_precisions(self, rule, dtype):
        seeds, probability = random_case()
        assert torch.equal(
            grow_seeds(seeds, probability.to(dtype), rule=rule), grow_seeds(seeds, probability, rule=rule)
        )

    def test_nan_does_not_pass_and_nothing_follows_the_arguments(self, rule):
        seeds, probability = one_hot_seeds(label_map("1..."), 2), sure_of(label_map("1111"), 2)
        probability[..., 2] = float("nan")
        before = seeds.clone()
        grown = grow_seeds(seeds, probability.requires_grad_(), rule=rule)
        assert text(grown) == ("11..",)
        assert not grown.requires_grad
        grown[:] = True
        assert torch.equal(seeds, before)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 5), (0, 3)])
    def test_smallest_images(self, rule, shape):
        seeds = torch.ones(2, 1, *shape, dtype=torch.bool)
        assert torch.equal(grow_seeds(seeds, seeds.float(), rule=rule), seeds)


def spiral(size: int) -> list[tuple[int, int]]:
    """Pixels of a corridor of width 1 from a corner inwards, walls of width 1 between its turns."""
    path, (row, column), (down, right) = [(0, 0)], (0, 0), (0, 1)
    for side in [size - 1, *(s for n in range(size - 1, 1, -2) for s in (n, n))]:
        for _ in range(side):
            row, column = row + down, column + right
            path.append((row, column))
        down, right = right, -down
    return path


class TestLongWays:
    def case(self, path, size):
        seeds = torch.zeros(1, 2, size, size, dtype=torch.bool)
        seeds[0, 1][path[0]] = True
        inside = torch.zeros(size, size)
        inside[tuple(zip(*path, strict=True))] = 1.0
        return seeds, torch.stack([1 - inside, inside])[None]

    def test_goes_through_a_spiral_until_it_is_cut(self):
        path = spiral(41)
        seeds, probability = self.case(path, 41)
        assert torch.equal(grow_seeds(seeds, probability)[0, 1], probability[0, 1].bool())
        cut = path[500]
        probability[0, :, cut[0], cut[1]] = 0.5
        assert grow_seeds(seeds, probability)[0, 1].sum() == 500

    @pytest.mark.parametrize("size", [41, 127])
    @pytest.mark.parametrize("turn", [0, 1, 2, 3])
    def test_needs_few_rounds(self, size, turn, monkeypatch):
        seeds, probability = (x.rot90(turn, (-2, -1)) for x in self.case(spiral(size), size))
        rounds, equal = [], torch.equal
        monkeypatch.setattr(torch, "equal", lambda a, b: bool(rounds.append(1)) or equal(a, b))
        grown = grow_seeds(seeds, probability)
        assert equal(grown[0, 1], probability[0, 1].bool())
        assert 1 < len(rounds) <= 10  # 800 to 8000 by dilation


@pytest.mark.parametrize(
    ("labels", "count", "expected"),
    [
        ([[0, 1, 255]], 2, [[[1, 0, 0]], [[0, 1, 0]]]),
        ([[2, 2, 0]], 3, [[[0, 0, 1]], [[0, 0, 0]], [[1, 1, 0]]]),
        ([[255, 255, 255]], 1, [[[0, 0, 0]]]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_one_hot_seeds_by_hand(labels, count, expected, dtype):
    seeds = one_hot_seeds(torch.tensor(labels, dtype=dtype)[None, None], count)
    assert seeds.dtype == torch.bool
    assert seeds[0].int().tolist() == expected


def test_one_hot_seeds_of_254_classes_and_of_a_volume():
    labels = torch.tensor([0, 254, 255, 7], dtype=torch.uint8).reshape(1, 1, 1, 2, 2)
    seeds = one_hot_seeds(labels, 255)
    assert seeds.shape == (1, 255, 1, 2, 2)
    assert seeds.nonzero().tolist() == [[0, 0, 0, 0, 0], [0, 7, 0, 1, 1], [0, 254, 0, 0, 1]]


@pytest.mark.parametrize(
    ("labels", "count", "match"),
    [
        (torch.full((1, 1, 2, 2), 2), 2, r"labels must be 0\.\.1"),
        (torch.full((1, 1, 2, 2), -1), 2, r"labels must be 0\.\.1"),
        (torch.zeros(1, 2, 2, 2), 2, r"\(B, 1"),
        (torch.zeros(1, 1, 2, 2), 256, "num_labels"),
        (torch.zeros(1, 1, 2, 2), 0, "num_labels"),
    ],
)
def test_one_hot_seeds_refuses(labels, count, match):
    with pytest.raises(ValueError, match=match):
        one_hot_seeds(labels, count)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"seeds": torch.zeros(1, 2, 3, 3)}, "bool"),
        ({"seeds": torch.zeros(1, 2, 3, 4, dtype=torch.bool)}, "seeds must be"),
        ({"foreground": 1.2}, "foreground"),
        ({"background": float("nan")}, "background"),
        ({"rule": "code"}, "rule"),
    ],
)
def test_refuses(change, match):
    arguments = {"seeds": torch.zeros(1, 2, 3, 3, dtype=torch.bool), "probability": torch.zeros(1, 2, 3, 3), **change}
    with pytest.raises(ValueError, match=match):
        grow_seeds(**arguments)
