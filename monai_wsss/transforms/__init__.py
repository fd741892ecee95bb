from monai_wsss.transforms.dense_crf import DenseCRFd
from monai_wsss.transforms.grid import GridPreprocessing
from monai_wsss.transforms.load_slice import LoadSliced
from monai_wsss.transforms.load_volume import LoadVolumed
from monai_wsss.transforms.normalize_body import NormalizeBodyd
from monai_wsss.transforms.orient_in_plane import OrientInPlane, OrientInPlaned
from monai_wsss.transforms.probability import ProbabilityFromLogitsd
from monai_wsss.transforms.rand_gaussian_noise_range import RandGaussianNoiseRanged
from monai_wsss.transforms.rand_mirror import RandMirrord
from monai_wsss.transforms.resample_to_grid import ResampleToGridd
from monai_wsss.transforms.save_mask import SaveMaskd
from monai_wsss.transforms.window_hu import WindowHUd

__all__ = [
    "DenseCRFd",
    "GridPreprocessing",
    "LoadSliced",
    "LoadVolumed",
    "NormalizeBodyd",
    "OrientInPlane",
    "OrientInPlaned",
    "ProbabilityFromLogitsd",
    "RandGaussianNoiseRanged",
    "RandMirrord",
    "ResampleToGridd",
    "SaveMaskd",
    "WindowHUd",
]
