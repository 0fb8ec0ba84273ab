"""Reference cases that nothing in the library answers to yet."""

NOT_YET: dict[str, str] = {
    **dict.fromkeys(
        (
            "colorization_soft_encode",
            "colorization_soft_encode_313_nn5",
            "colorization_soft_encode_313_nn10",
            "colorization_prior",
            "colorization_rebalance_full_support",
            "colorization_rebalance_zero_bins",
            "colorization_rebalanced_gradient",
            "colorization_annealed_mean",
            "colorization_rebalanced_ce",
            "rgb2lab",
        ),
        "colorization",
    ),
    **dict.fromkeys(("simmim_mask", "simmim_loss"), "SimMIM"),
    "split_brain_losses": "split-brain autoencoder",
    **dict.fromkeys(("counting", "counting_elementwise", "counting_margin_10", "counting_margin_3"), "counting"),
}
"""Golden case -> the method or loss that will bring it."""
