"""A probe on features that are there already: no images, no Trainer."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from sslbolts.evaluation.accuracy import accuracies, precision, right_answers
from sslbolts.evaluation.encoder import choose_device
from sslbolts.evaluation.probes.heads import ProbeHeads, probe_loss, probe_optimizer
from sslbolts.evaluation.probes.settings import (
    PROBE_SETTINGS,
    ProbeSettings,
    probe_settings,
    settings_name,
    with_own_lr,
)
from sslbolts.evaluation.result import Found
from sslbolts.evaluation.splits import Splits, held_out
from sslbolts.progress import late_bar
from sslbolts.readouts import mean_average_precision

__all__ = [
    "HELD_OUT",
    "MOST_HELD_OUT",
    "NOTHING_HELD_OUT",
    "crop_in_words",
    "fit_heads",
    "lr_origin",
    "probe_on_features",
    "settings_in_words",
]

HELD_OUT = 0.1
"""Share of the training images on which a learning rate is chosen."""
MOST_HELD_OUT = 5000
"""Upper bound of their number."""
NOTHING_HELD_OUT = "the settings' own: no class has two labeled images, of which one could be held out to choose on"


def probe_on_features(
    splits: Splits,
    settings: ProbeSettings,
    *,
    hidden_dim: int = 0,
    dropout: float = 0.0,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> Found:
    """A probe on features that are there already.

    With several learning rates, all train at once on nine tenths of every class, the one that is best on the last tenth
    (at most 5,000 images; the smaller of equals) trains again on all, and that is measured. Where no class has two, it
    is the settings' own learning rate. Where images show several classes, the last tenth is of all images, and the
    measure is the mean average precision.

    Args:
        splits: labeled features.
        settings: how to train.
        hidden_dim: of an MLP; 0 is a linear probe.
        dropout: of the MLP.
        seed: of order, first weights and held-out images.
        device: where it is computed.
    """
    home = choose_device(device)
    x, y = splits.x.to(home), splits.y.to(home)
    fit = partial(fit_heads, num_classes=splits.num_classes, hidden_dim=hidden_dim, dropout=dropout, seed=seed)
    rows: list[dict[str, Any]] = []
    rates = settings.lrs
    chosen = lr_origin(settings)
    held = held_out(splits.y, HELD_OUT, seed=seed, most=MOST_HELD_OUT).to(home)
    lr = rates[0]
    if len(rates) > 1 and not held.any():
        lr, chosen = with_own_lr(settings).lr, NOTHING_HELD_OUT
    elif len(rates) > 1:
        heads = fit(x[~held], y[~held], settings)
        logits = _logits(heads, x[held])
        if splits.several:
            name, words = "held-out map", "mean average precision"
            right = [mean_average_precision(logits[:, head], y[held]) for head in range(len(rates))]
        else:
            name, words = "held-out top1", "right"
            hits = right_answers(logits, y[held, None])["top1"].sum(0)
            right = [count / int(held.sum()) for count in hits.tolist()]
        rows = [{"lr": lr, name: share} for lr, share in zip(rates, right)]
        best = right.index(max(right))
        chosen = f"of {len(right)} on {int(held.sum()):,} held-out training images ({100 * max(right):.2f} % {words})"
        lr = rates[best]
    heads = fit(x, y, probe_settings(settings, lr=lr))
    size = min(settings.batch_size, len(x))
    stated = settings_in_words(settings, hidden_dim, dropout, lr=lr, batch_size=size)
    stated["learning rate chosen"] = f"{chosen}; seed {seed}"
    measure = precision if splits.several else accuracies
    return Found(measure(_logits(heads, splits.test_x.to(home))[:, 0], splits.test_y), stated, rows)


def fit_heads(
    x: Tensor,
    y: Tensor,
    settings: ProbeSettings,
    *,
    num_classes: int,
    hidden_dim: int = 0,
    dropout: float = 0.0,
    seed: int = 0,
) -> ProbeHeads:
    """Classifiers, one per learning rate of the settings, trained on features; in eval mode.

    Args:
        x: features ``(N, D)``, on the device where to train.
        y: labels ``(N,)``, or ``(N, C)`` of several classes.
        settings: how to train.
        num_classes: number of classes.
        hidden_dim: of an MLP; 0 is a linear probe.
        dropout: of the MLP.
        seed: of order and first weights.

    Example:
        >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        >>> heads = fit_heads(x, (x[:, 0] > 0).long(), probe_settings("features", epochs=20), num_classes=2)
        >>> bool((heads(x)[:, -1].argmax(1) == (x[:, 0] > 0)).float().mean() > 0.95)
        True
    """
    batch = min(settings.batch_size, len(x))
    steps = -(-len(x) // batch)
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        heads = ProbeHeads(
            x.shape[1], num_classes, count=len(settings.lrs), settings=settings, hidden_dim=hidden_dim, dropout=dropout
        ).to(x.device)
        if settings.norm == "standardize":
            heads.standardize_by(x)
        depends = settings.norm == "batch_norm"  # on the batch; all else is done once
        x = x if depends else heads.normalize(x)
        optimizer, schedule = probe_optimizer(
            heads,
            settings,
            batch_size=batch,
            total=steps * settings.epochs,
            warmup=round(settings.warmup_epochs * steps),
        )
        order = torch.Generator().manual_seed(seed)
        for _ in late_bar(range(settings.epochs), "Epochs of the probe"):
            for rows in torch.split(torch.randperm(len(x), generator=order).to(x.device), batch):
                optimizer.zero_grad()
                logits = heads(x[rows]) if depends else heads.classify(x[rows])
                torch.autograd.backward(probe_loss(logits, y[rows]))
                optimizer.step()
                schedule.step()
    return heads.eval()


def lr_origin(settings: ProbeSettings) -> str:
    """The origin of the only learning rate, in words.

    Example:
        >>> lr_origin(probe_settings("moco", epochs=2)), lr_origin(probe_settings("moco", lr=0.1))
        ("the settings'", 'given')
    """
    published = [known.lrs for known in PROBE_SETTINGS.values() if known.source == settings.source]
    return "given" if published and settings.lrs not in published else "the settings'"


def crop_in_words(settings: ProbeSettings) -> str:
    """The settings' random crop, in words.

    Example:
        >>> crop_in_words(probe_settings("moco"))
        'of 0.08 to 1 of the area (bilinear)'
        >>> crop_in_words(probe_settings("rotnet_conv"))
        'of 0.64 of the area (bilinear), with a border of 0.125 around the image'
    """
    low, high = settings.crop
    area = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    border = f", with a border of {settings.padding:g} around the image" if settings.padding else ""
    return f"of {area} of the area ({settings.interpolation}){border}"


def settings_in_words(
    settings: ProbeSettings, hidden_dim: int, dropout: float, *, lr: float, batch_size: int
) -> dict[str, Any]:
    """Settings in words, for a result's settings.

    Args:
        settings: what was to be done.
        hidden_dim: of an MLP; 0 is a linear probe.
        dropout: of the MLP.
        lr: the one of their learning rates that was chosen.
        batch_size: images per step that there really were.
    """
    schedule = {"cosine": "cosine to 0", "constant": "constant"}.get(
        settings.decay, f"times {settings.step_factor:g} at {', '.join(f'{100 * m:g} %' for m in settings.milestones)}"
    )
    if settings.warmup_epochs:
        schedule = f"{settings.warmup_epochs:g} epochs of warm-up, then {schedule}"
    found: dict[str, Any] = {
        "settings": settings_name(settings),
        "source": settings.source,
        "optimizer": f"{settings.optimizer}, lr {lr:g} for 256 images ({settings.lr_scaling} scaling), weight decay "
        f"{settings.weight_decay:g}{', Nesterov' if settings.nesterov else ''}",
        "schedule": f"{settings.epochs} epochs, {schedule}",
        "batch size": batch_size,
        "norm of the features": settings.norm,
    }
    if hidden_dim:
        found["hidden layer"] = f"{hidden_dim}, batch norm, ReLU, dropout {dropout:g}"
    return found


@torch.no_grad()
def _logits(heads: ProbeHeads, x: Tensor) -> Tensor:
    return torch.cat([heads(rows) for rows in torch.split(x, 4096)])
