"""Reference cases that nothing in the library answers to yet."""

NOT_YET: dict[str, str] = {
    **dict.fromkeys(("tcn_singleview", "tcn_singleview_multiseq", "tcn_npairs"), "time-contrastive networks"),
    **dict.fromkeys(
        ("rotnet_rotation", "rotnet_batch", "rotnet_flip_after_rotation", "rotnet_trajectory"),
        "RotNet",
    ),
    **dict.fromkeys(
        ("relative_patch_labels", "relative_grid_pairs", "relative_colour_drop", "colour_projection"),
        "relative patch position",
    ),
    **dict.fromkeys(
        ("jigsaw_maxhamming", "jigsaw_permutations_5", "jigsaw_permutations_9", "jigsaw_tiles", "channel_shift"),
        "Jigsaw",
    ),
    **dict.fromkeys(("simmim_mask", "simmim_loss"), "SimMIM"),
    **dict.fromkeys(("counting", "counting_elementwise", "counting_margin_10", "counting_margin_3"), "counting"),
    **dict.fromkeys(("exemplar_batch_hard_soft", "exemplar_semi_hard_per_sample"), "exemplar"),
    **dict.fromkeys(
        (
            "bigan_discriminator",
            "bigan_discriminator_2",
            "bigan_generator_encoder",
            "bigan_generator_encoder_2",
            "bigan_encoder_squash",
            "bigan_lr",
        ),
        "BiGAN",
    ),
    **dict.fromkeys(("context_encoder_l2", "context_encoder_overlap"), "context encoder"),
    **dict.fromkeys(("denoising_autoencoder_mse", "denoising_autoencoder_bce"), "denoising autoencoder"),
    **dict.fromkeys(
        (
            "word2vec_skipgram",
            "word2vec_cbow",
            "word2vec_subsampling",
            "word2vec_noise",
            "word2vec_trajectory_skipgram",
            "word2vec_trajectory_cbow",
        ),
        "word2vec",
    ),
    **dict.fromkeys(("bert_mask", "bert_number_of_predictions", "bert_mlm_loss"), "masked language model"),
    **dict.fromkeys(("s4l_rotation_joint", "vat_kl_direction"), "semi-supervised training"),
    "kraehenbuhl_rescaled": "initialization as a baseline",
    "semi_supervised_joint": "joint semi-supervised training",
}
"""Golden case -> the method or loss that will bring it."""
