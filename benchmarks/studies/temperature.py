"""SimCLR's table 5: temperature and normalization of the embeddings."""

from functools import partial

from study import NETWORK, Claim, Study, Variant, main
from torch import Tensor

from sslbolts import SimCLR
from sslbolts.losses import nt_xent


class NotNormalized(SimCLR):
    """SimCLR whose similarity is the plain product."""

    def contrast(self, z1: Tensor, z2: Tensor) -> Tensor:
        return nt_xent(z1, z2, self.temperature, normalize=False)


simclr = partial(SimCLR, hidden_dim=256, **NETWORK)
plain = partial(NotNormalized, hidden_dim=256, **NETWORK)

STUDY = Study(
    name="temperature",
    title="Temperature and normalization",
    about="How sharp should the softmax over negatives be, and must embeddings be normalized? Chen et al. 2020 "
    "(arXiv:2002.05709, table 5) found a middle temperature best, and normalized embeddings ahead of products.",
    variants=[
        Variant("cosine, 0.05", partial(simclr, temperature=0.05), 59.7),
        Variant("cosine, 0.1", partial(simclr, temperature=0.1), 64.4),
        Variant("cosine, 0.5", partial(simclr, temperature=0.5), 60.7),
        Variant("cosine, 1", partial(simclr, temperature=1.0), 58.0),
        Variant("product, 10", partial(plain, temperature=10.0), 57.2),
        Variant("product, 100", partial(plain, temperature=100.0), 57.0),
    ],
    claims=[
        Claim("cosine, 0.1", "cosine, 0.05"),
        Claim("cosine, 0.1", "cosine, 0.5"),
        Claim("cosine, 0.5", "cosine, 1"),
        Claim("cosine, 0.1", "product, 10"),
        Claim("product, 10", "product, 100"),
    ],
)

if __name__ == "__main__":
    main(STUDY)
