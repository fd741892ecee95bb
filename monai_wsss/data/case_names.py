"""What a volume is called in everything that is written."""

from __future__ import annotations

from monai_wsss.data.discovery import stem_of
from monai_wsss.data.pseudonyms import Pseudonyms
from monai_wsss.data.volume import Volume


def case_name(volume: Volume, names: Pseudonyms) -> str:
    """Return the case's name: of a DICOM series by its header, so that it stays the same wherever the files lie.

    The patient is in it as well: an anonymiser may give one UID to many.
    """
    tags = volume.tags
    if names.keeps_names or tags is None or not tags.series:
        return names.case(volume.case)
    return names.case("/".join((tags.patient, tags.study, tags.series, tags.modality, tags.part)))


def case_aliases(volume: Volume, names: Pseudonyms) -> tuple[str, ...]:
    """Return the other names under which the user may know the case: path, stem, UIDs, accession number."""
    tags = volume.tags
    known = [volume.case, volume.relative.as_posix(), volume.relative.name]
    if len(volume.files) == 1:
        known.append(stem_of(volume.path))
    if tags is not None:
        known += [tags.series, tags.accession, *(tags.instances if len(tags.instances) == 1 else ())]
    aliases = dict.fromkeys(names.case(name) for name in known if name and name != ".")
    aliases.pop(case_name(volume, names), None)
    return tuple(aliases)
