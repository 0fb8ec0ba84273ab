"""SimCLR's table 4: the contrastive losses beside each other."""

from functools import partial

from study import NETWORK, Claim, Study, Variant, main

from sslbolts import SimCLR

simclr = partial(SimCLR, hidden_dim=256, **NETWORK)

STUDY = Study(
    name="loss_variants",
    title="Contrastive losses",
    about="Which loss makes the best features of two views? Chen et al. 2020 (arXiv:2002.05709, table 4, ResNet-50 "
    "on ImageNet) found NT-Xent ahead of NT-Logistic and the margin triplet, and semi-hard negatives to help "
    "the latter two.",
    variants=[
        Variant("NT-Xent", partial(simclr, temperature=0.2), 63.9),
        Variant("NT-Logistic", partial(simclr, objective="nt_logistic", temperature=0.2), 51.6),
        Variant(
            "NT-Logistic, semi-hard", partial(simclr, objective="nt_logistic", temperature=0.2, semi_hard=True), 57.9
        ),
        Variant("margin triplet", partial(simclr, objective="margin_triplet"), 50.9),
        Variant("margin triplet, semi-hard", partial(simclr, objective="margin_triplet", semi_hard=True), 57.5),
    ],
    claims=[
        Claim("NT-Xent", "NT-Logistic, semi-hard"),
        Claim("NT-Xent", "margin triplet, semi-hard"),
        Claim("NT-Logistic, semi-hard", "NT-Logistic"),
        Claim("margin triplet, semi-hard", "margin triplet"),
    ],
)

if __name__ == "__main__":
    main(STUDY)
