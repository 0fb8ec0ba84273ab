"""Reference cases of word2vec and BERT's masks; the trajectories are 25 steps of the published program's update."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sslbolts import losses
from sslbolts.losses.text import Update
from sslbolts.methods.text.masking import masked_text, number_of_predictions
from sslbolts.methods.text.sampling import keep_probability, noise_distribution
from tests.golden.reference import Case, Parameters, Tensors


def _loss(
    table: Tensor,
    outputs: Tensor,
    context: Tensor,
    target: Tensor,
    negatives: Tensor,
    update: Update = "gradient",
    lr=0.0,
) -> Tensor:
    """One group: the words of ``context`` together, -1 for none."""
    words = torch.cat([target.view(1), negatives])[None]
    rows, present = table[context.clamp(min=0)][None], (context >= 0)[None]
    return losses.negative_sampling(rows, outputs[words], words, present, update=update, lr=lr)


def _skip_gram(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": _loss(i["input"], i["output"], i["context"], i["target"], i["negatives"])}


def _cbow(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    table = i["input"].detach().clone().requires_grad_()
    _loss(table, i["output"].detach(), i["context"], i["target"], i["negatives"], "published", 1.0).backward()
    assert table.grad is not None
    return {**_skip_gram(i, p), "published_input_step": -table.grad}


def _subsampling(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    keep = keep_probability(i["counts"], p["t"])
    return {"keep": keep, "paper_keep": keep_probability(i["counts"], p["t"], form="paper")}


def _noise(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"probability": noise_distribution(i["counts"], p["power"])}


def _trajectory(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    tables = [i[name].clone().requires_grad_() for name in ("input", "output")]
    for context, target, negatives, lr in zip(i["contexts"], i["targets"], i["negatives"], i["lr"].tolist()):
        words = context[context >= 0]
        for group in [context] if p["mode"] == "cbow" else words.split(1):
            loss = _loss(*tables, group, target, negatives, "published", lr)
            steps = torch.autograd.grad(loss, tables)
            with torch.no_grad():
                for table, step in zip(tables, steps):
                    table -= lr * step
    return dict(zip(("input", "output"), tables))


def _mask(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    places = len(i["order"])
    count = number_of_predictions(len(i["ids"]), probability=p["prob"], most=p["max_predictions"])
    draws = {"kinds": i["u"], "coins": i["v"], "replacements": i["replacement"]}
    found = masked_text(
        i["ids"][None],
        i["order"][None],
        torch.tensor([count]),
        mask_id=p["mask_id"],
        **{name: drawn[None, :places] for name, drawn in draws.items()},
    )
    return {"ids": found.ids[0], "positions": found.positions[0, :count], "labels": found.labels[0, :count]}


def _number(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    settings = {"probability": p["prob"], "most": p["max_predictions"]}
    return {"count": torch.tensor([number_of_predictions(length, **settings) for length in i["length"].tolist()])}


def _masked_tokens(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    return {"loss": losses.masked_tokens(i["logits"], i["ids"], i["weights"])}


CASES: Mapping[str, Case] = {
    "word2vec_skipgram": Case(_skip_gram, "negative_sampling"),
    "word2vec_cbow": Case(_cbow, "negative_sampling"),
    "word2vec_subsampling": Case(_subsampling),
    "word2vec_noise": Case(_noise),
    "word2vec_trajectory_skipgram": Case(_trajectory),
    "word2vec_trajectory_cbow": Case(_trajectory),
    "bert_mask": Case(_mask),
    "bert_number_of_predictions": Case(_number),
    "bert_mlm_loss": Case(_masked_tokens, "masked_tokens"),
}
