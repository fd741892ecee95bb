"""Methods files: what they say, and what is refused in one line before anything runs."""

from pathlib import Path

import pytest
import yaml
from tiny_bundles import BUNDLE, BUNDLES, DECONV_BUNDLE

from benchmarks.accuracy import _check_rows, _extras, _runs
from benchmarks.rows.methods_file import Method, Methods, read_methods
from benchmarks.rows.row_names import CRF, DSRG, EXTRAS, METHOD, THRESHOLDED, TRIVIAL, UNGATED
from monai_wsss.errors import InputError

FILES = Path(__file__).parents[2] / "benchmarks" / "methods"
SMALL = {
    "title": "Two",
    "overlays": ["small"],
    "methods": {
        "A": {"bundle": BUNDLE.name, "set": {"refine": "crf"}, "rows": ["class maps + CRF", "segmenter"]},
        "B + C": {"bundle": DECONV_BUNDLE.name, "overlays": ["mri"], "until": "baseline"},
    },
    "rows": ["all background", "ceiling"],
}


def write(path, content):
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return path


def test_what_a_file_says(tmp_path):
    found = read_methods(write(tmp_path / "m.yaml", SMALL), BUNDLES, ["small"], {"seed": 3})
    one, two = found.methods
    assert one == Method(
        "A", BUNDLE, ("small", "small"), {"refine": "crf", "seed": 3}, None, ("class maps + CRF", "segmenter")
    )
    assert (two.overlays, two.until, two.rows, two.slug) == (("small", "mri", "small"), "baseline", None, "b_c")
    assert found.of_base is one and found.layout == "accuracy" and found.rows == ("all background", "ceiling")
    assert found.described()["methods"]["B + C"] == {
        "bundle": DECONV_BUNDLE.name,
        "overlays": ["small", "mri", "small"],
        "overrides": {"seed": 3},
        "until": "baseline",
    }


def changed(path, value):
    """SMALL with the value at a path of keys."""
    content = yaml.safe_load(yaml.safe_dump(SMALL, sort_keys=False))
    *parents, last = path.split("/")
    place = content
    for key in parents:
        place = place[key]
    place[last] = value
    return content


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (changed("colour", 1), "key 'colour' is not known; choose among title"),
        (changed("methods/A/sets", {}), "A: key 'sets' is not known; choose among bundle"),
        (changed("methods/A/bundle", "unet"), "A: bundle 'unet' is not known"),
        (changed("methods/A/overlays", ["tiny"]), "no overlay 'tiny'"),
        (changed("methods/A/set", {"refined": 1}), "A: unknown id 'refined'"),
        (changed("methods/A/set", [1]), "A: set is no mapping"),
        (changed("methods/A/rows", ["segmentation"]), "rows 'segmentation' is not known"),
        (changed("methods/A", None), "A: holds no keys"),
        (changed("methods/a", SMALL["methods"]["A"]), "would share the folder a"),
        (changed("rows", ["oracle"]), "rows 'oracle' is not known"),
        (changed("rows", "ceiling"), "rows is no list"),
        (changed("base", "C"), "base 'C' is not known; choose among A, B"),
        (changed("layout", "wide"), "layout 'wide' is not known"),
        (changed("methods", {}), "names no methods"),
        ("a: [", "not readable as YAML"),
        ("methods:\n  A: {}\n  A: {}\n", "not readable as YAML: Duplicate key: `A`"),
    ],
)
def test_what_is_refused(tmp_path, content, match):
    with pytest.raises(InputError, match=match) as caught:
        read_methods(write(tmp_path / "m.yaml", content), BUNDLES)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="no such methods file"):
        read_methods(tmp_path / "m.yaml", BUNDLES)


ONE = Method("", BUNDLE)
MADE = [*TRIVIAL, EXTRAS["random"], THRESHOLDED, CRF, METHOD, UNGATED, EXTRAS["ceiling"]]
STEPS = [THRESHOLDED, CRF, METHOD]


def test_rows_of_one_method_keep_their_names():
    assert Methods((ONE,)).shown(ONE, MADE, STEPS) == {name: name for name in MADE}
    assert list(Methods((ONE,), ("all background",)).shown(ONE, MADE, STEPS)) == ["all background", *MADE[3:]]


def test_rows_of_several_methods_are_named_by_method():
    one, two = Method("A", BUNDLE, rows=("segmenter", "ungated")), Method("B", BUNDLE)
    shown = Methods((one, two), ()).shown(one, [*STEPS, UNGATED, EXTRAS["ceiling"]], STEPS)
    assert shown == {METHOD: "A", UNGATED: f"A: {UNGATED}", EXTRAS["ceiling"]: EXTRAS["ceiling"]}
    assert Methods((one, two), ()).shown(two, STEPS, STEPS) == {
        THRESHOLDED: f"B: {THRESHOLDED}",
        CRF: f"B: {CRF}",
        METHOD: "B",
    }
    dsrg = Method("C", BUNDLE, rows=(DSRG,))
    with pytest.raises(InputError, match=r"C: makes no row 'DSRG'; it makes class maps"):
        Methods((dsrg,)).shown(dsrg, STEPS, STEPS)


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        (Methods((ONE,)), [["ungated", "few-shot", "ceiling", "shuffled", "random"]]),
        (Methods((Method("", BUNDLE, until="seed"),)), [[]]),
        (Methods((ONE,), ("all background", "random")), [["random"]]),
        (Methods((Method("A", BUNDLE), Method("B", BUNDLE))), [["few-shot", "ceiling", "shuffled", "random"], []]),
        (Methods((Method("A", BUNDLE), Method("B", BUNDLE, rows=("ungated",))), ()), [[], ["ungated"]]),
        (Methods((Method("A", BUNDLE, until="classify"),), layout="classifiers"), [[]]),
    ],
)
def test_which_extra_rows_are_made_with_which_method(methods, expected):
    assert [methods.extras(method) for method in methods.methods] == expected


@pytest.mark.parametrize("path", sorted(FILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_committed_files_can_run(path, tmp_path):
    """Their bundles, overlays, ids, last stages and rows are there; nothing is run."""
    found = read_methods(path, BUNDLES)
    for method in found.methods:
        runs = _runs(tmp_path / "data", tmp_path / "work", method, "cpu")
        _extras(found, method, runs)
        _check_rows(method, runs, method is found.of_base and not found.classifies)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("method", "match"),
    [
        ({"set": {"refine": "crf"}, "rows": ["DSRG"]}, "A: makes no row 'DSRG'; it may make class maps, thresholded, "),
        ({"set": {"refine": "crf"}, "rows": ["+ IRNet"]}, "A: makes no row '[+] IRNet'"),
        ({"until": "refine", "rows": ["segmenter"]}, "A: makes no row 'segmenter'"),
        ({"rows": []}, "A: the others are compared with it, so that it needs a row"),
        ({"rows": ["ungated"]}, "A: the others are compared with it"),
    ],
)
def test_rows_that_will_not_be_made_are_refused_before_anything_runs(tmp_path, method, match):
    (tmp_path / "m.yaml").write_text(yaml.safe_dump({"methods": {"A": {"bundle": BUNDLE.name, **method}}}))
    found = read_methods(tmp_path / "m.yaml", BUNDLES)
    with pytest.raises(InputError, match=match):
        _check_rows(found.methods[0], _runs(tmp_path, tmp_path / "work", found.methods[0], "cpu"), True)


@pytest.mark.parametrize(("name", "count"), [("lgg_mri.yaml", 4), ("lgg_mri_combinations.yaml", 8)])
def test_methods_of_a_table_share_their_first_stages(name, count):
    """All but the localiser run the same bundle with the same overlays up to the class maps."""
    found = read_methods(FILES / name, BUNDLES)
    maps = [method for method in found.methods if method.bundle != DECONV_BUNDLE]
    assert {(method.bundle, method.overlays) for method in maps} == {(BUNDLE, ("small",))}
    own = {id_ for method in maps for id_ in method.values}
    thresholds = {"foreground_threshold", "background_threshold", "walk_threshold"}
    assert own == {"refine", "supervision", *thresholds, "walk_beta", "walk_multiply_edge", "walk_crf"}
    assert len({(method.values["refine"], method.values["supervision"]) for method in maps}) == len(maps) == count


def test_bes_is_the_same_in_both_tables():
    main, combined = (read_methods(FILES / f"{name}.yaml", BUNDLES) for name in ("lgg_mri", "lgg_mri_combinations"))
    assert main.by_name("BES").values == combined.by_name("BES").values
    assert combined.by_name("BES + DSRG").values == {**main.by_name("BES").values, "supervision": "dsrg"}
