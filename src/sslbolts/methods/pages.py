"""The page of every method, for ``sslbolts methods NAME``: its idea, formula, views, configurations and defaults."""

import inspect
from dataclasses import fields
from typing import NamedTuple

from sslbolts.methods import configurations
from sslbolts.methods.registry import METHODS, get_method
from sslbolts.optim import OptimizerCallable, OptimizerSpec
from sslbolts.transforms import MultiCrop, View
from sslbolts.transforms import recipe as recipe_named

__all__ = ["PAGES", "Page", "configs_of", "defaults_of", "views_of"]


class Page(NamedTuple):
    """A method in short.

    Attributes:
        idea: three sentences.
        formula: its loss, in plain characters.
    """

    idea: str
    formula: str


PAGES: dict[str, Page] = {
    "SimCLR": Page(
        "Two random views of an image must find each other among all other images of the batch. An MLP maps the "
        "features to the space where they are compared, and is thrown away after training. Strong color changes "
        "and large batches make the task hard enough.",
        "L = -log [ exp(s(z_i, z_j) / t) / sum_{k != i} exp(s(z_i, z_k) / t) ],  s = cosine, (i, j) views of one image",
    ),
    "MoCo": Page(
        "The embedding of one view must find that of another view among a long queue of earlier embeddings. What "
        "is in the queue comes from a teacher, the moving average of the network, so that old entries stay "
        "comparable. The number of negatives then no longer depends on the batch.",
        "L = -log [ exp(q.k+ / t) / (exp(q.k+ / t) + sum_{k in queue} exp(q.k / t)) ],  teacher <- m teacher + (1 "
        "- m) student",
    ),
    "MoCoV3": Page(
        "MoCo without the queue: negatives are the other images of a large batch. A predictor on the student's "
        "side is added, as in BYOL. For vision transformers the patch embedding is frozen, which keeps training "
        "stable.",
        "L = ctr(q1, k2) + ctr(q2, k1),  ctr(q, k) = -2t log [ exp(q_i.k_i / t) / sum_j exp(q_i.k_j / t) ]",
    ),
    "InstanceDiscrimination": Page(
        "Every image is a class of its own. A memory keeps one embedding per image, and an image's new embedding "
        "must be nearest to its own entry. The softmax over all images is estimated from a few thousand of them.",
        "P(i | v) = exp(v.m_i / t) / Z,  L = -log h(i, v) - sum_{n noise} log(1 - h(n, v)),  h = P / (P + K / N)",
    ),
    "CPC": Page(
        "An image is cut into overlapping patches, each encoded on its own. From the rows above, a context "
        "network predicts the features of patches further below. The right one must be found among the patches of "
        "the batch.",
        "L = -log [ exp(p_k(c).z_{+k}) / sum_j exp(p_k(c).z_j) ],  mean over steps k and four directions",
    ),
    "AMDIM": Page(
        "The global features of one view must find the local features of another view of the same image. This is "
        "done at several scales of one network, which must not pad. Local features of all other images are the "
        "negatives.",
        "L = NCE(r1, r5') + NCE(r1, r7') + NCE(r5, r5'),  r1 global, r5 and r7 maps of 5x5 and 7x7",
    ),
    "BYOL": Page(
        "A student predicts the embedding that its own moving average gives of another view. There are no "
        "negatives. The predictor and the slow teacher keep the embeddings from collapsing to one point.",
        "L = || q(z1) / |q(z1)| - z2' / |z2'| ||^2 + the same with the views exchanged,  z' from the teacher",
    ),
    "SimSiam": Page(
        "Each view predicts the embedding of the other, which is held constant. There is neither a teacher nor a "
        "negative. The stopped gradient and the predictor prevent collapse.",
        "L = - cos(p1, stop(z2)) / 2 - cos(p2, stop(z1)) / 2",
    ),
    "DINO": Page(
        "A student sees small and large crops, a teacher the large ones alone, and both give a distribution over "
        "thousands of outputs. The student must say what the teacher says of another crop. Centering and "
        "sharpening of the teacher's outputs prevent collapse.",
        "L = - sum_{x large} sum_{x' != x} P_t(x) log P_s(x'),  P_t = softmax((g_t - c) / t_t), P_s = softmax(g_s "
        "/ t_s)",
    ),
    "OBoW": Page(
        "A teacher describes an image as a bag of visual words, a soft histogram over a vocabulary. The student "
        "predicts this histogram from small crops. The vocabulary is a queue of the teacher's own features, and "
        "changes all the time.",
        "L = KL( y(x) || softmax(g * cos(G(V), s(x'))) ),  y = soft assignment of the teacher's map to the words V",
    ),
    "BoWNet": Page(
        "The local features of a trained network are clustered into visual words. A new network predicts, from a "
        "perturbed image, how often each word occurs in the clean one. The student may be the next round's "
        "teacher.",
        "L = - sum_k y_k log softmax_k(g * cos(w, s(x~))),  y = histogram of words of the clean image",
    ),
    "MeanTeacher": Page(
        "A classifier learns from the few labels there are. On all images its outputs must also agree with those "
        "of its own moving average on another view. The weight of this agreement rises in the first epochs.",
        "L = CE(f(x1), y) + w(t) || softmax f(x1) - softmax f'(x2) ||^2",
    ),
    "Distillation": Page(
        "A small student predicts the features of a large frozen teacher of the same view. A deep head stands "
        "between them in training and is thrown away. Nothing else is needed to beat more complicated ways.",
        "L = || g(s) / |g(s)| - t / |t| ||^2",
    ),
    "BarlowTwins": Page(
        "The dimensions of the embedding are looked at over the batch. Each must be correlated with itself in the "
        "other view, and with no other dimension. No negatives, no teacher and no predictor are needed.",
        "L = sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2,  C = cross-correlation of both views' embeddings",
    ),
    "VICReg": Page(
        "The embeddings of two views must be near each other. Each of their dimensions must vary over the batch, "
        "and no two may vary together. The three terms are weighted and act on each view by itself.",
        "L = l |z1 - z2|^2 + m [v(z1) + v(z2)] + n [c(z1) + c(z2)],  v = mean max(0, 1 - std),  c = squared "
        "covariances",
    ),
    "WMSE": Page(
        "Embeddings are whitened in groups, so that their covariance is the identity. Views of one image must "
        "then be near each other. A collapsed embedding cannot be whitened, so no negatives are needed.",
        "L = 2 - 2 cos(white(z1), white(z2)),  mean over pairs of views and partitions into groups",
    ),
    "DeepCluster": Page(
        "The features of all images are clustered by k-means at the start of every epoch. The network then learns "
        "to predict the cluster of each image. Clusters count alike, whatever their size.",
        "L = CE(W f(x), k-means assignment of x),  anew in every epoch",
    ),
    "SwAV": Page(
        "Embeddings are assigned to prototypes, so that all prototypes are used equally. Each view must predict "
        "the assignment of another view. Many small crops join in as predictors at low cost.",
        "L = - sum_k Q_k(z_t) log softmax_k(z_s.c_k / t),  Q from Sinkhorn iterations over the batch",
    ),
    "DeepClusterV2": Page(
        "All images are clustered once per epoch from the embeddings that the last epoch left. All crops of an "
        "image are classified into its cluster, with the centroids as a fixed classifier. Several clusterings are "
        "learned at once.",
        "L = CE(z.C / t, spherical k-means assignment),  C = centroids, mean over heads and crops",
    ),
    "MAE": Page(
        "Three quarters of an image's patches are hidden. The encoder sees the others alone, which makes it "
        "cheap, and a small decoder predicts the hidden pixels. The decoder is thrown away.",
        "L = mean over hidden patches of | x - x^ |^2,  x = pixels of a patch, less their mean, by their deviation",
    ),
    "SimMIM": Page(
        "Large cells of an image are replaced by a learned token. The encoder sees all tokens, and one linear "
        "layer predicts the pixels. Any network with a patch embedding can be trained so.",
        "L = sum over hidden pixels of | x - x^ | / their number",
    ),
    "RelativePosition": Page(
        "Patches are cut out of a grid, with gaps and jitter between them. A network sees two neighboring ones "
        "and says on which of eight sides the second lies. It must know the parts of objects for that, once the "
        "shortcuts are closed: borders, and the color fringes of lenses.",
        "L = CE(h([f(a), f(b)]), position of b as seen from a),  8 classes",
    ),
    "Jigsaw": Page(
        "An image is cut into tiles, which are shuffled by one permutation out of a fixed set. The network sees "
        "all tiles and says which permutation it was. The set is chosen so that its permutations differ as much "
        "as possible.",
        "L = CE(h([f(t_1), ..., f(t_n)]), index of the permutation)",
    ),
    "RotNet": Page(
        "Each image is shown in four rotations. The network says by how much it was turned. It must know what is "
        "in the image, and how such things usually stand.",
        "L = - (1/4) sum_{k = 0..3} log softmax_k( F(rot(x, k * 90 degrees)) )",
    ),
    "Colorization": Page(
        "The network sees the lightness of an image and predicts its colors. Colors are 313 classes, so that "
        "several may be likely at once. Rare colors weigh more, or all would end as gray.",
        "L = - mean over pixels of v(q) sum_k q_k log softmax_k F(L),  q = soft code of (a, b), v = rebalancing",
    ),
    "SplitBrain": Page(
        "Two halves of a network each see some channels of an image and predict the others: lightness to color, "
        "and color to lightness. Neither half sees what it predicts. Side by side, their features describe all "
        "channels.",
        "L = CE(F1(L), bins of ab) + CE(F2(ab), bins of L)",
    ),
    "ContextEncoder": Page(
        "A region of an image is missing. Encoder and decoder fill it in from what is around. An adversary may "
        "judge the result, which makes it sharper.",
        "L = w mean(r (x - x^)^2) + (1 - w) BCE(D(x^), 1),  r = 10 in the ring where hole and context overlap",
    ),
    "DenoisingAutoencoder": Page(
        "An image is corrupted by noise, or by setting parts of it to zero. An autoencoder gives back the clean "
        "one. To do so it must know how the parts of an image depend on each other.",
        "L = | x - g(f(x~)) |^2, or the cross entropy of pixels,  x~ ~ q(x~ | x)",
    ),
    "Counting": Page(
        "The output counts visual primitives. The counts in an image must be the sum of those in its four "
        "quarters. Those of another image must be different, or all counts would be zero.",
        "L = | F(Dx) - sum_j F(T_j x) |^2 + max(0, M - | F(Dy) - sum_j F(T_j x) |^2)",
    ),
    "Exemplar": Page(
        "Each image is a class, and its random transformations are the examples of it. The network tells the "
        "classes apart, by a softmax over all images or by triplets. It becomes invariant to what the "
        "transformations change.",
        "L = CE(W f(T x_i), i), or softplus(max d(anchor, positive) - min d(anchor, negative))",
    ),
    "BiGAN": Page(
        "A generator makes images from codes, and an encoder codes from images. A discriminator sees pairs of "
        "image and code and says from which of the two they come. Where it cannot tell, the encoder inverts the "
        "generator.",
        "min_{E,G} max_D  E_x log D(x, E(x)) + E_z log(1 - D(G(z), z))",
    ),
    "MultiTask": Page(
        "Several tasks are learned over one trunk. Each has its own head, weight and input. A lasso may choose "
        "for each task from which layers of the trunk its head reads.",
        "L = sum_task w_task L_task + lambda sum |alpha|,  head input = sum_u alpha_{task,u} unit_u",
    ),
    "TimeContrastive": Page(
        "Frames of a video that are near in time, or show one moment from two cameras, get similar embeddings. "
        "Frames further away get others. What stays the same over time is what an image is about.",
        "L = max(0, d(a, p) - d(a, n) + margin), semi-hard,  p near in time to a, n far; or n-pairs over two cameras",
    ),
    "Word2Vec": Page(
        "A word is predicted from its neighbors, or they from it. Instead of a softmax over all words, the right "
        "one is told from a few random ones. Words of similar use get similar vectors.",
        "L = - log s(w_c.u_t) - sum_{n noise} log s(-w_c.u_n),  s = sigmoid, noise ~ count^0.75",
    ),
    "MaskedLanguageModel": Page(
        "Some words of a text are hidden or replaced. A Transformer sees all words at once and predicts the "
        "hidden ones. Its representations then serve other tasks.",
        "L = sum over hidden words of CE(word, prediction) / their number",
    ),
    "SemiSupervised": Page(
        "A few images are labeled and train a classifier. All images also train a task without labels over the "
        "same backbone. Both losses are added in every step.",
        "L = L_l(labeled) + w L_u(unlabeled)",
    ),
}
"""Name of the class -> its page."""


def views_of(recipe: str) -> list[str]:
    """A line per kind of view of a recipe, for images of 224 pixels.

    Example:
        >>> views_of("mae")
        ['mae: 1 view of 224 pixels, scale (0.2, 1.0), interpolation bicubic']
    """
    found = recipe_named(recipe, 224)
    views = found.global_views + (found.local_view,) * found.num_local if isinstance(found, MultiCrop) else found.views
    lines = []
    for view in dict.fromkeys(views):
        count, size = views.count(view), view.size
        plain = View(size)
        changed = [
            f"{field.name} {value}"
            for field in fields(View)
            if (value := getattr(view, field.name)) != getattr(plain, field.name)
        ]
        lines.append(", ".join([f"{recipe}: {count} view{'s' * (count > 1)} of {size} pixels", *changed]))
    return lines


def configs_of(name: str) -> list[str]:
    """Names of a method's configurations."""
    file = METHODS[name].module.rpartition(".")[2]
    return [
        config
        for config in configurations.names()
        if config.startswith(f"{file}_cifar10mini")
        or f"\n  class_path: sslbolts.{name}\n" in configurations.configuration(config).read_text(encoding="utf-8")
    ]


def defaults_of(name: str) -> dict[str, str]:
    """Arguments of a method and their defaults, those of its base left out."""
    defaults = {}
    for argument in inspect.signature(get_method(name).__init__).parameters.values():
        if argument.kind is argument.VAR_KEYWORD or argument.name == "self":
            continue
        value = argument.default
        if argument.name == "optimizer" and value is not argument.empty:
            value = _optimizer(value)
        defaults[argument.name] = "(needed)" if value is argument.empty else str(value)
    return defaults


def _optimizer(make: OptimizerCallable) -> str:
    """An optimizer as one would write it."""
    brief = OptimizerSpec(make).brief
    settings = ", ".join(f"{key}={value}" for key, value in brief["init_args"].items())
    return f"{brief['class_path'].rpartition('.')[2]}({settings})"
