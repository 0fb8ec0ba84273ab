"""Reference cases that nothing in the library answers to yet."""

NOT_YET: dict[str, str] = {
    **dict.fromkeys(("tcn_singleview", "tcn_singleview_multiseq"), "time-contrastive networks"),
    **dict.fromkeys(("mae_pixel", "mae_normpix", "sincos_pos_embed_2d"), "MAE"),
    "rotnet_rotation": "RotNet",
    "relative_patch_labels": "relative patch position",
    "jigsaw_maxhamming": "Jigsaw",
    **dict.fromkeys(("colorization_soft_encode", "rgb2lab", "colorization_rebalanced_ce"), "colorization"),
    **dict.fromkeys(("counting", "counting_elementwise"), "counting"),
    **dict.fromkeys(("bigan_discriminator", "bigan_generator_encoder"), "BiGAN"),
    "context_encoder_l2": "context encoder",
    **dict.fromkeys(("denoising_autoencoder_mse", "denoising_autoencoder_bce"), "denoising autoencoder"),
    "semi_supervised_joint": "joint semi-supervised training",
}
"""Golden case -> the method or loss that will bring it."""
