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
    "split_brain_losses": "split-brain autoencoder",
}
"""Golden case -> the method or loss that will bring it."""
