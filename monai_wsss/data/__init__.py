from monai_wsss.data.atomic import atomic_path, write_array, write_json, write_table
from monai_wsss.data.cache import Progress, build_cache, cache_folder, cached_record, remove_cached
from monai_wsss.data.case_names import case_aliases, case_name
from monai_wsss.data.causes import causes, find_cause, input_error
from monai_wsss.data.dataset_file import Case, PreparedDataset
from monai_wsss.data.discovery import find_volumes, stem_of
from monai_wsss.data.groups import join_groups
from monai_wsss.data.labels.case_labels import CaseLabels, merge_rows
from monai_wsss.data.labels.label_values import LabelPolicy
from monai_wsss.data.labels.labels_table import LabelsTable, Row, read_labels_table
from monai_wsss.data.labels.matching import Matches, match_rows
from monai_wsss.data.nifti import read_nifti, read_nifti_header
from monai_wsss.data.phantoms import write_phantoms
from monai_wsss.data.pseudonyms import Pseudonyms
from monai_wsss.data.series_rule import SeriesRule
from monai_wsss.data.skipped import Skipped, reason_of
from monai_wsss.data.slices import slice_items
from monai_wsss.data.split import split_by_column, split_patients
from monai_wsss.data.truth import find_truth
from monai_wsss.data.volume import SeriesTags, Volume, VolumeHeader
from monai_wsss.data.writers import write_mask

__all__ = [
    "Case",
    "CaseLabels",
    "LabelPolicy",
    "LabelsTable",
    "Matches",
    "PreparedDataset",
    "Progress",
    "Pseudonyms",
    "Row",
    "SeriesRule",
    "SeriesTags",
    "Skipped",
    "Volume",
    "VolumeHeader",
    "atomic_path",
    "build_cache",
    "cache_folder",
    "cached_record",
    "case_aliases",
    "case_name",
    "causes",
    "find_cause",
    "find_truth",
    "find_volumes",
    "input_error",
    "join_groups",
    "match_rows",
    "merge_rows",
    "read_labels_table",
    "read_nifti",
    "read_nifti_header",
    "reason_of",
    "remove_cached",
    "slice_items",
    "split_by_column",
    "split_patients",
    "stem_of",
    "write_array",
    "write_json",
    "write_mask",
    "write_phantoms",
    "write_table",
]
