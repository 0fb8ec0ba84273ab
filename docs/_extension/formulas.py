"""The loss of every method as LaTeX, and formulas in lines; ``sslbolts.methods.pages`` has plain ones, ``formula``."""

FORMULAS = {
    "SimCLR": r"""L = -\log \frac{\exp(\operatorname{sim}(z_i, z_j) / \tau)}
    {\sum_{k \ne i} \exp(\operatorname{sim}(z_i, z_k) / \tau)},
    \qquad \operatorname{sim} = \cos, \quad (i, j)\ \text{two views of one image}""",
    "MoCo": r"""L = -\log \frac{\exp(q \cdot k_+ / \tau)}
    {\exp(q \cdot k_+ / \tau) + \sum_{k \in \text{queue}} \exp(q \cdot k / \tau)},
    \qquad \theta_\text{teacher} \leftarrow m\, \theta_\text{teacher} + (1 - m)\, \theta_\text{student}""",
    "MoCoV3": r"""L = \operatorname{ctr}(q_1, k_2) + \operatorname{ctr}(q_2, k_1), \qquad
    \operatorname{ctr}(q, k) = -2 \tau \log \frac{\exp(q_i \cdot k_i / \tau)}{\sum_j \exp(q_i \cdot k_j / \tau)}""",
    "InstanceDiscrimination": r"""P(i \mid v) = \frac{\exp(v \cdot m_i / \tau)}{Z}, \qquad
    L = -\log h(i, v) - \sum_{n \sim \text{noise}} \log (1 - h(n, v)), \qquad h = \frac{P}{P + K / N}""",
    "CPC": r"""L = -\log \frac{\exp(p_k(c) \cdot z_{+k})}{\sum_j \exp(p_k(c) \cdot z_j)}
    \quad \text{(mean over steps } k \text{ and four directions)}""",
    "AMDIM": r"""L = \operatorname{NCE}(r_1, r_5') + \operatorname{NCE}(r_1, r_7') + \operatorname{NCE}(r_5, r_5'),
    \qquad r_1\ \text{global}, \quad r_5, r_7\ \text{maps of } 5 \times 5, 7 \times 7""",
    "BYOL": r"""L = \left\| \frac{q(z_1)}{\|q(z_1)\|} - \frac{z_2'}{\|z_2'\|} \right\|^2
    + \left\| \frac{q(z_2)}{\|q(z_2)\|} - \frac{z_1'}{\|z_1'\|} \right\|^2,
    \qquad z'\ \text{from the teacher}""",
    "SimSiam": r"""L = -\tfrac{1}{2} \cos(p_1, \operatorname{stop}(z_2))
    - \tfrac{1}{2} \cos(p_2, \operatorname{stop}(z_1))""",
    "DINO": r"""L = -\sum_{x\ \text{large}} \sum_{x' \ne x} P_t(x) \log P_s(x'), \qquad
    P_t = \operatorname{softmax}\frac{g_t - c}{\tau_t}, \quad P_s = \operatorname{softmax}\frac{g_s}{\tau_s}""",
    "OBoW": r"""L = \operatorname{KL}\bigl( y(x) \,\|\, \operatorname{softmax}(\gamma \cos(G(V), s(x'))) \bigr),
    \qquad y = \text{soft assignment of the teacher's map to the words } V""",
    "BoWNet": r"""L = -\sum_k y_k \log \operatorname{softmax}_k(\gamma \cos(w, s(\tilde x))),
    \qquad y = \text{histogram of the words of the clean image}""",
    "MeanTeacher": r"""L = \operatorname{CE}(f(x_1), y)
    + w(t)\, \| \operatorname{softmax} f(x_1) - \operatorname{softmax} f'(x_2) \|^2""",
    "Distillation": r"""L = \left\| \frac{g(s)}{\|g(s)\|} - \frac{t}{\|t\|} \right\|^2""",
    "BarlowTwins": r"""L = \sum_i (1 - C_{ii})^2 + \lambda \sum_{i \ne j} C_{ij}^2,
    \qquad C = \text{cross-correlation of both views' embeddings}""",
    "VICReg": r"""L = \lambda \| z_1 - z_2 \|^2 + \mu\, [v(z_1) + v(z_2)] + \nu\, [c(z_1) + c(z_2)], \qquad
    v = \operatorname{mean} \max(0, 1 - \operatorname{std}), \quad
    c = \tfrac{1}{D} \sum_{i \ne j} \operatorname{cov}_{ij}^2""",
    "WMSE": r"""L = 2 - 2 \cos(\operatorname{white}(z_1), \operatorname{white}(z_2))
    \quad \text{(mean over pairs of views and partitions into groups)}""",
    "DeepCluster": r"""L = \operatorname{CE}(W f(x), a(x)), \qquad
    a = \text{k-means assignment, anew in every epoch}""",
    "SwAV": r"""L = -\sum_k Q_k(z_t) \log \operatorname{softmax}_k(z_s \cdot c_k / \tau),
    \qquad Q\ \text{from Sinkhorn iterations over the batch}""",
    "DeepClusterV2": r"""L = \operatorname{CE}(z \cdot C / \tau,\ a), \qquad C = \text{centroids}, \quad
    a = \text{spherical k-means assignment}""",
    "MAE": r"""L = \operatorname*{mean}_{\text{hidden patches}} \| x - \hat x \|^2,
    \qquad x = \text{pixels of a patch, less their mean, by their deviation}""",
    "SimMIM": r"""L = \frac{1}{|M|} \sum_{i \in M} | x_i - \hat x_i |, \qquad M = \text{hidden pixels}""",
    "RelativePosition": r"""L = \operatorname{CE}(h([f(a), f(b)]),\ \text{position of } b \text{ as seen from } a)
    \quad \text{(8 classes)}""",
    "Jigsaw": r"""L = \operatorname{CE}(h([f(t_1), \dots, f(t_n)]),\ \text{index of the permutation})""",
    "RotNet": r"""L = -\tfrac{1}{4} \sum_{k=0}^{3} \log \operatorname{softmax}_k
    F(\operatorname{rot}(x, k \cdot 90^\circ))""",
    "Colorization": r"""L = -\operatorname*{mean}_{\text{pixels}} v(q) \sum_k q_k \log \operatorname{softmax}_k F(L),
    \qquad q = \text{soft code of } (a, b), \quad v = \text{rebalancing}""",
    "SplitBrain": r"""L = \operatorname{CE}(F_1(L),\ \text{bins of } ab)
    + \operatorname{CE}(F_2(ab),\ \text{bins of } L)""",
    "ContextEncoder": r"""L = w \operatorname{mean}(r (x - \hat x)^2) + (1 - w) \operatorname{BCE}(D(\hat x), 1),
    \qquad r = 10\ \text{in the ring where hole and context overlap}""",
    "DenoisingAutoencoder": r"""L = \| x - g(f(\tilde x)) \|^2 \ \text{or the cross entropy of pixels}, \qquad
    \tilde x \sim q(\tilde x \mid x)""",
    "Counting": r"""L = \Bigl\| F(Dx) - \sum_j F(T_j x) \Bigr\|^2
    + \max\Bigl(0,\ M - \Bigl\| F(Dy) - \sum_j F(T_j x) \Bigr\|^2\Bigr)""",
    "Exemplar": r"""L = \operatorname{CE}(W f(T x_i),\ i) \quad \text{or} \quad
    \operatorname{softplus}\bigl(\max d(\text{anchor}, \text{positive})
    - \min d(\text{anchor}, \text{negative})\bigr)""",
    "BiGAN": r"""\min_{E, G} \max_D\ \mathbb{E}_x \log D(x, E(x)) + \mathbb{E}_z \log (1 - D(G(z), z))""",
    "MultiTask": r"""L = \sum_\text{task} w_\text{task} L_\text{task} + \lambda \sum |\alpha|, \qquad
    \text{input of a head} = \sum_u \alpha_{\text{task}, u}\, \text{unit}_u""",
    "TimeContrastive": r"""L = \max(0,\ d(a, p) - d(a, n) + \text{margin}), \qquad
    p\ \text{near in time to } a, \quad n\ \text{far (semi-hard); or n-pairs over two cameras}""",
    "Word2Vec": r"""L = -\log \sigma(w_c \cdot u_t) - \sum_{n \sim \text{noise}} \log \sigma(-w_c \cdot u_n), \qquad
    \text{noise} \sim \text{count}^{0.75}""",
    "MaskedLanguageModel": r"""L = \frac{1}{|M|} \sum_{i \in M} \operatorname{CE}(\text{word}_i, \text{prediction}_i),
    \qquad M = \text{hidden words}""",
    "SemiSupervised": r"""L = L_l(\text{labeled}) + w\, L_u(\text{unlabeled})""",
}
"""Name of the class -> its loss."""


def in_lines(formula: str) -> str:
    """A formula whose definitions stand below it, so that it fits a narrow page.

    >>> print(in_lines(r"L = Q, \\qquad Q = 1"))
    \\begin{gathered}
    L = Q, \\\\[4pt]
    Q = 1
    \\end{gathered}
    """
    parts = [" ".join(part.split()) for part in formula.split(r"\qquad")]
    return "\\begin{gathered}\n" + " \\\\[4pt]\n".join(parts) + "\n\\end{gathered}" if len(parts) > 1 else parts[0]


def in_docstring(lines: list[str]) -> list[str]:
    r"""The lines of a docstring, in which each formula has its definitions below it.

    >>> in_docstring([r".. math:: L = Q, \qquad", "    Q = 1", "", "Args:"])
    ['.. math::', '', '    \\begin{gathered}', '    L = Q, \\\\[4pt]', '    Q = 1', '    \\end{gathered}', '', 'Args:']
    """
    found: list[str] = []
    rest = list(lines)
    while rest:
        found.append(line := rest.pop(0))
        indent = len(line) - len(line.lstrip())
        mark, directive, text = line.partition(".. math::")
        if mark.strip() or not directive:
            continue
        body: list[str] = []
        while rest and (not rest[0].strip() or len(rest[0]) - len(rest[0].lstrip()) > indent):
            body.append(rest.pop(0))
        formula = " ".join([text, *body])
        if "qquad" in formula:
            found[-1] = mark + directive
            body = ["", *(" " * (indent + 4) + part for part in in_lines(formula).splitlines()), ""]
        found += body
    return found
