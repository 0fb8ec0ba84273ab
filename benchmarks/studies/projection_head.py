"""SimCLR's figure 8 and table 3: the projection head, and the features before and after it."""

from functools import partial
from typing import Any

from study import NETWORK, Claim, Study, Variant, main
from torch import nn

from sslbolts import SimCLR


class OtherHead(SimCLR):
    """SimCLR with a linear projection, or none.

    Args:
        linear: a linear projection; else none.
        arguments: of SimCLR.
    """

    def __init__(self, linear: bool, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.projector = nn.Linear(self.num_features, 128, bias=False) if linear else nn.Identity()


arguments: dict[str, Any] = {"hidden_dim": 256, "temperature": 0.2, **NETWORK}
AFTER = "projector"

STUDY = Study(
    name="projection_head",
    title="The projection head, h against g(h)",
    about="Does a head between features and loss help, and are the features before it better than those behind it? "
    "Chen et al. 2020 (arXiv:2002.05709, figure 8) found an MLP 3 points ahead of a linear head and more than "
    "10 ahead of none, and h more than 10 points ahead of g(h).",
    variants=[
        Variant("MLP", partial(SimCLR, **arguments), layers=(AFTER,)),
        Variant("linear", partial(OtherHead, True, **arguments), layers=(AFTER,)),
        Variant("none", partial(OtherHead, False, **arguments)),
    ],
    claims=[
        Claim("MLP", "linear"),
        Claim("linear", "none"),
        Claim("MLP", f"MLP: {AFTER}"),
        Claim("linear", f"linear: {AFTER}"),
    ],
)

if __name__ == "__main__":
    main(STUDY)
