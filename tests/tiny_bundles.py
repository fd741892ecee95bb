"""The bundles, and values of their ids that make a run a matter of seconds."""

from pathlib import Path

BUNDLES = Path(__file__).parents[1] / "bundles"
BUNDLE, FILM_BUNDLE = BUNDLES / "brain_mri_lesion_mixed_unet", BUNDLES / "cxr_pneumothorax_irnet"
DSRG_BUNDLE, BES_BUNDLE = BUNDLES / "brain_mri_lesion_dsrg", BUNDLES / "brain_mri_lesion_bes"
DECONV_BUNDLE, CT_BUNDLE = BUNDLES / "cxr_tuberculosis_deconv", BUNDLES / "brain_ct_hemorrhage_mixed_unet"
SETTINGS = {
    "pixel_spacing": 4.0,
    "size": [32, 32],
    "classifier_name": "resnet18",
    "classify_epochs": 3,
    "classify_batch_size": 8,
    "scales": [1.0],
    "channels": [4, 4, 8, 8],
    "train_epochs": 3,
    "train_batch_size": 8,
}
DECONV_SETTINGS = {
    "seed": 2,  # with others a map of 1 x 1 may die at its ReLU
    "size": [32, 32],
    "network_width": 0.125,
    "hidden_units": 16,
    "crop_shift": 1.0,
    "classify_epochs": 3,
    "classify_batch_size": 8,
    "baseline_epochs": 3,
    "deconv_epochs": 2,
    "train_batch_size": 8,
}
FILM_SETTINGS = {
    "size": [32, 32],
    "classifier_name": "resnet18",
    "classifier_width": 0.125,
    "head_channels": 64,
    "drop_size": 2,
    "classify_epochs": 4,
    "classify_batch_size": 8,
    "classify_learning_rate": 3e-3,
    "classify_new_factor": 1.0,
    "classify_schedule": "polynomial",
    "scales": [1.0],
    "crf_sxy_gaussian": 1.0,
    "crf_sxy_bilateral": 4.0,
    "irnet_epochs": 2,
    "irnet_batch_size": 4,
    "irnet_radius": 3,
    "walk_radius": 3,
    "walk_exp_times": 4,
    "segmenter": "unet",
    "channels": [4, 4, 8, 8],
    "train_epochs": 2,
    "train_batch_size": 8,
    "train_learning_rate": 0.05,
}
# Of stages that every bundle has, for images of 32 x 32.
CHOICE_SETTINGS = {
    "irnet_epochs": 1,
    "irnet_batch_size": 4,
    "irnet_radius": 3,
    "bes_epochs": 1,
    "bes_batch_size": 4,
    "bes_window": 3,  # of a grid of 8 x 8; a straight edge has shares of 3 / 9 and 6 / 9
    "theta_scale": 0.3,
    "theta_diff": 0.4,
    "background_threshold": 0.28,  # else ignored pixels part lesion and background by more than the window
    "walk_radius": 3,
    "walk_exp_times": 4,
    "walk_multiply_edge": False,  # one epoch finds boundaries wherever there is contrast
    "background_seed": 0.35,  # a few steps leave the class maps broad
    "dsrg_epochs": 3,
    "dsrg_batch_size": 4,
    "dsrg_optimizer": "adam",
    "dsrg_learning_rate": 1e-2,
    "dsrg_schedule": "polynomial",
    "dsrg_new_factor": 1.0,
    "dsrg_bias_factor": 1.0,
    "dsrg_stride": 2,
    "dsrg_crf_iterations": 2,
    "relabel_scales": [1.0],
    "relabel_crf_iterations": 2,
}
# Of the bundles of DSRG and of BES.
GROWING_SETTINGS = CHOICE_SETTINGS | {
    "pixel_spacing": 4.0,
    "size": [32, 32],
    "classifier_name": "resnet18",
    "classifier_width": 0.125,
    "head_convs": 0,
    "classify_epochs": 4,
    "classify_batch_size": 8,
    "classify_optimizer": "adam",
    "classify_learning_rate": 3e-3,
    "classify_new_factor": 1.0,
    "classify_bias_factor": 1.0,
    "classify_schedule": "polynomial",
    "scales": [1.0],
    "flips": False,
    "threshold": 0.5,
    "segmenter": "unet",
    "channels": [4, 4, 8, 8],
    "train_epochs": 1,
    "train_batch_size": 8,
    "train_optimizer": "adam",
    "train_learning_rate": 1e-2,
    "infer_scales": [1.0],
}
