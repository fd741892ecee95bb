from pathlib import Path

import numpy as np
import pytest

from monai_wsss.data.series_rule import SeriesRule, candidates
from monai_wsss.data.volume import SeriesTags, Volume, VolumeHeader
from monai_wsss.errors import InputError


def volume(slices=24, spacing=5.0, kind="dicom", name="a/b", known=True, **tags):
    header = VolumeHeader((256, 200, slices), np.eye(4), (0.9, 0.9, spacing), known)
    return Volume((Path("/x") / name,), Path(name), name, header, kind, SeriesTags(**tags) if kind == "dicom" else None)


FLAIR = volume(modality="MR", series_description="t2 FLAIR ax", plane="axial", series_number="7", model="Skyra, fit")


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("Modality=MR", True),
        ("modality = mr", True),
        ("Modality=M", False),
        ("Modality!=CT", True),
        ("SeriesDescription~flair", True),
        ("SeriesDescription!~flair", False),
        ("SeriesDescription~t1|flair", True),
        ("SeriesDescription!~t1|dwi", True),
        ("SeriesDescription=T2 flair AX", True),
        ("Modality=MR, SeriesDescription~FLAIR, plane=axial", True),
        ("Modality=MR,plane=sagittal", False),
        ("slices>=24", True),
        ("slices>=25", False),
        ("slices<=24, spacing<=5", True),
        ("spacing<=4.9", False),
        ("spacing=5", True),  # 5.0 is 5
        ("SeriesNumber=07", True),
        ("SeriesNumber>=3", True),
        ('Model="Skyra, fit"', True),
        ("ManufacturerModelName~skyra", True),
        ("BodyPart=", True),  # empty
        ("kind=dicom", True),
        ("file~a/", True),
        ("part!=echo time 30 ms", True),
        ("BodyPart>=3", False),  # no number
    ],
)
def test_fits(text, fits):
    rule = SeriesRule.parse(text)
    assert rule.fits(FLAIR) == fits and str(rule) == text


def test_files_without_tags_have_empty_fields():
    nifti = volume(kind="nifti", name="b.nii.gz")
    assert SeriesRule.parse("kind=nifti, file~.nii").fits(nifti)
    assert not SeriesRule.parse("Modality=MR").fits(nifti)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "give conditions such as"),
        (" , ", "give conditions such as"),
        ('Model="a', "give conditions such as"),
        ("Modality", "write FIELD=VALUE"),
        ("Modality MR", "write FIELD=VALUE"),
        ("Modalty=MR", 'no field "Modalty"; there are Modality, SeriesDescription, .*, plane, part, slices'),
        ("slices>=many", ">= takes one number"),
        ("slices>=1|2", ">= takes one number"),
    ],
)
def test_wrong_rules(text, message):
    with pytest.raises(InputError, match=message):
        SeriesRule.parse(text)


def test_candidates():
    flair = {"modality": "MR", "series_description": "FLAIR ax", "plane": "axial"}
    volumes = [
        volume(24, 5.0, **flair),
        volume(28, 5.5, **flair),
        volume(24, 5.0, part="echo time 30 ms", **flair),
        volume(1, 1.0, modality="DX", protocol="CHEST", plane="projection", known=False),
        volume(30, 1.0, kind="nifti", name="c.nii"),
    ]
    assert candidates(volumes) == [
        '2 x MR "FLAIR ax" axial, 24-28 slices, 0.9 x 0.9 x 5-5.5 mm',
        '1 x DX "CHEST" projection, 256 x 200 pixels',
        '1 x MR "FLAIR ax" axial, echo time 30 ms, 24 slices, 0.9 x 0.9 x 5 mm',
        "1 x nifti, 30 slices, 0.9 x 0.9 x 1 mm",
    ]
