"""Wrong uses of the commands that look at a trained network: pictures, report, evaluate, transfer, detect, diagnose."""

from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.evaluation import (
    FineTune,
    evaluate_detection,
    evaluate_label_efficiency,
    evaluate_svm,
    evaluate_transfer,
    initialized,
    load_encoder,
)
from sslbolts.evaluation.few_label import read_rows
from tests.cli.wrong import Wrong
from tests.helpers.nets import TinyBackbone

WRONG_EVALUATIONS = [
    Wrong("misspelt picture", ["pictures", "timm/resnet18", "--what=neigbors"], 'Did you mean "neighbors"?'),
    Wrong("report of no folder", ["report", "{files}/nowhere"], "there is no folder"),
    Wrong("report of a folder without a run", ["report", "{files}/empty"], "is of a run: no metrics.csv"),
    Wrong("report into a text file", ["report", "{files}", "--output=r.txt"], "must end in .html"),
    Wrong("preview into a text file", ["preview", "--output=views.txt"], "the picture must end in .png"),
    Wrong("preview of no images", ["preview", "--images=0"], "--images 0: it must be in 1 to 32."),
    Wrong("misspelt option of preview", ["preview", "--vews=byol"], 'Did you mean "--views"?'),
    Wrong("misspelt option of methods", ["methods", "--plan"], 'Did you mean "--plain"?'),
    Wrong(
        "transfer to a data set that is not there",
        ["transfer", "timm/resnet10t", "--datasets=DTT"],
        'there is no transfer data set "DTT". Did you mean "DTD"?',
        lambda files: evaluate_transfer(load_encoder(TinyBackbone(), device="cpu"), ["DTT"]),
    ),
    Wrong(
        "transfer without any data",
        ["transfer", "{files}/simclr.ckpt", "--datasets=DTD", "--root={files}/empty", "--num_workers=0"],
        "none of the data sets is there. DTD was skipped",
        lambda files: evaluate_transfer(load_encoder(files / "simclr.ckpt"), ["DTD"], root=files / "empty"),
    ),
    Wrong(
        "transfer of images without pixels",
        ["transfer", "{files}/simclr.ckpt", "--datasets=DTD", "--image_size=0"],
        "image_size=0: it must be a whole number of at least 1.",
        lambda files: evaluate_transfer(load_encoder(TinyBackbone(), device="cpu"), ["DTD"], image_size=0),
    ),
    Wrong(
        "transfer to a folder that is not there",
        ["transfer", "{files}/simclr.ckpt", "--datasets=folder:mine", "--root={files}/empty", "--device=cpu"],
        "and it cannot be downloaded: images are read from mine/train/CLASS/*.jpg and mine/test/CLASS/*.jpg.",
        lambda files: evaluate_transfer(
            load_encoder(TinyBackbone(), device="cpu"), ["folder:mine"], root=files / "empty"
        ),
    ),
    Wrong(
        "transfer to a folder by another measure",
        ["transfer", "timm/resnet10t", "--datasets=folder:mine:top2"],
        'metric="top2": it must be one of top1',
        lambda files: evaluate_transfer(load_encoder(TinyBackbone(), device="cpu"), ["folder:mine:top2"]),
    ),
    Wrong(
        "transfer to a folder by a misspelt measure",
        ["transfer", "timm/resnet10t", "--datasets=folder:mine:acu"],
        'metric="acu": it must be one of top1, mean_per_class, auc. Did you mean "auc"?',
    ),
    Wrong(
        "transfer with steps and no fine-tuning",
        ["transfer", "{files}/simclr.ckpt", "--datasets=DTD", "--steps=100", "--device=cpu"],
        "steps=100 is of fine-tuning: give fine_tune=True (--fine-tune) as well.",
        lambda files: evaluate_transfer(load_encoder(TinyBackbone(), device="cpu"), ["DTD"], steps=100),
    ),
    Wrong(
        "transfer by fine-tuning beside a checkpoint",
        ["transfer", "{files}/simclr.ckpt", "--fine-tune", "--supervised={files}/simclr.ckpt", "--device=cpu"],
        "it is timm/NAME or torchvision/NAME, whose weights are known.",
    ),
    Wrong(
        "transfer by fine-tuning of the projector",
        ["transfer", "{files}/simclr.ckpt", "--fine-tune", "--layer=projector", "--device=cpu"],
        'fine-tuning trains the backbone, and the layer is "projector": leave layer out.',
    ),
    Wrong(
        "evaluation with a negative seed", ["evaluate", "knn", "x.ckpt", "--seed=-1"], "--seed -1: a seed is between 0"
    ),
    Wrong("misspelt option of transfer", ["transfer", "x.ckpt", "--datesets=DTD"], 'Did you mean "--datasets"?'),
    Wrong(
        "detection without boxes",
        ["detect", "{files}/simclr.ckpt", "--root={files}/empty", "--device=cpu"],
        'so no split "VOC2007:trainval"',
        lambda files: evaluate_detection(load_encoder(files / "simclr.ckpt", device="cpu"), files / "empty"),
    ),
    Wrong(
        "detection of no steps",
        ["detect", "{files}/simclr.ckpt", "--root=x", "--steps=0"],
        "steps=0: it must be a whole number of at least 1",
    ),
    Wrong(
        "detection with rescaled weights",
        ["detect", "{files}/simclr.ckpt", "--root=x", "--init=rescaled"],
        'init="rescaled": it must be one of random.',
    ),
    Wrong(
        "detection beside a baseline that there is not",
        ["detect", "{files}/simclr.ckpt", "--root=x", "--baselines=scratch"],
        'baselines="scratch": it must be one of random.',
    ),
    Wrong(
        "misspelt settings of fine-tuning",
        ["evaluate", "finetune", "{files}/simclr.ckpt", "--settings=simclr_1pc"],
        'there are no settings "simclr_1pc" of fine-tuning. Did you mean "simclr_1pct"?',
        lambda files: FineTune(TinyBackbone(), 10, settings="simclr_1pc"),
    ),
    Wrong(
        "fine-tuning of the projector",
        ["evaluate", "finetune", "{files}/simclr.ckpt", "--layer=projector"],
        'fine-tuning trains the backbone, and the layer is "projector": leave layer out.',
    ),
    Wrong(
        "layers that are not there",
        ["evaluate", "layers", "{files}/simclr.ckpt", "--layers=layer5"],
        'ResNet has no layer "layer5".',
    ),
    Wrong("diagnosis of nothing", ["diagnose"], "required: source"),
    Wrong("misspelt option of diagnose", ["diagnose", "x.ckpt", "--untraind"], 'Did you mean "--untrained"?'),
    Wrong("diagnosis into a picture", ["diagnose", "x.ckpt", "--output=x.png"], "the file must end in .json"),
    Wrong(
        "diagnosis of a handful of images",
        ["diagnose", "{files}/simclr.ckpt", "--max_images=2", "--device=cpu"],
        "a diagnosis needs 8 images or more",
    ),
    Wrong(
        "diagnosis of a teacher that there is not",
        ["diagnose", "{files}/simclr.ckpt", "--teacher", "--device=cpu"],
        "SimCLR has no teacher",
    ),
    Wrong(
        "misspelt initialization",
        ["evaluate", "knn", "{files}/simclr.ckpt", "--init=rescald", "--device=cpu"],
        'init="rescald": it must be one of random, rescaled. Did you mean "rescaled"?',
        lambda files: initialized(load_encoder(files / "simclr.ckpt", device="cpu"), "rescald"),
    ),
    Wrong(
        "a network without weights whose weights are drawn anew",
        ["evaluate", "knn", "timm/resnet10t", "--untrained", "--init=random", "--device=cpu"],
        "--init random draws the weights anew: leave --untrained out.",
    ),
    Wrong("misspelt protocol", ["evaluate", "knnn", "timm/resnet18"], 'Did you mean "knn"?'),
    Wrong("evaluation of nothing", ["evaluate", "knn"], "required: source"),
    Wrong(
        "evaluation of no file",
        ["evaluate", "knn", "{files}/simcrl.ckpt"],
        'Did you mean "simclr.ckpt"?',
        lambda files: load_encoder(files / "simcrl.ckpt"),
    ),
    Wrong(
        "layer that is not there",
        ["evaluate", "ridge", "{files}/simclr.ckpt", "--layer=projecter"],
        'SimCLR has no layer "projecter". Did you mean "projector"?',
        lambda files: load_encoder(files / "simclr.ckpt", layer="projecter"),
    ),
    Wrong(
        "teacher of a method without one",
        ["evaluate", "knn", "{files}/simclr.ckpt", "--teacher"],
        "SimCLR has no teacher",
        lambda files: load_encoder(files / "simclr.ckpt", teacher=True),
    ),
    Wrong(
        "evaluation by no neighbor",
        ["evaluate", "knn", "{files}/simclr.ckpt", "--k", "0"],
        "numbers of neighbors are at least 1",
    ),
    Wrong("evaluation into a table", ["evaluate", "knn", "{files}/simclr.ckpt", "--output=a.csv"], "must end in .json"),
    Wrong(
        "misspelt probe settings",
        ["evaluate", "linear", "{files}/simclr.ckpt", "--settings=simcrl"],
        'mean "simclr"?',
    ),
    Wrong("no learning rate", ["evaluate", "linear", "{files}/simclr.ckpt", "--lr", "0"], "all must be positive"),
    Wrong("no hidden layer", ["evaluate", "mlp", "{files}/simclr.ckpt", "--hidden_dim=0"], "it is at least 1"),
    Wrong(
        "labels of two kinds",
        ["evaluate", "few-label", "{files}/simclr.ckpt", "--fraction=0.1", "--per_class=3"],
        "Give one of fraction=, per_class= and rows=",
    ),
    Wrong(
        "more labels than images", ["evaluate", "few-label", "{files}/simclr.ckpt", "--per_class=501"], "has only 500"
    ),
    Wrong(
        "no list of labels",
        ["evaluate", "few-label", "{files}/simclr.ckpt", "--rows={files}/nowhere.txt"],
        "nowhere.txt",
        lambda files: read_rows(files / "nowhere.txt"),
    ),
    Wrong(
        "numbers of labels that do not ascend",
        ["evaluate", "label-efficiency", "{files}/simclr.ckpt", "--per_class", "20", "5"],
        "per_class=20, 5: the numbers of labels must ascend, each given once.",
        lambda files: evaluate_label_efficiency(
            load_encoder(TinyBackbone(), device="cpu"), CIFAR10MiniDataModule(), per_class=[20, 5]
        ),
    ),
    Wrong(
        "more labels than a class has at one of several numbers",
        ["evaluate", "label-efficiency", "{files}/simclr.ckpt", "--per_class", "1", "501"],
        "has only 500 training images",
    ),
    Wrong(
        "support vector machines of two kinds of data",
        ["evaluate", "svm", "{files}/simclr.ckpt", "--voc07={files}/empty", "--data=CIFAR10Mini"],
        "--voc07 is data of its own: leave --data out.",
    ),
    Wrong(
        "support vector machines without VOC's folder",
        ["evaluate", "svm", "{files}/simclr.ckpt", "--voc07={files}/empty", "--device=cpu"],
        "VOC2007: it is not in",
        lambda files: evaluate_svm(load_encoder(TinyBackbone(), device="cpu"), voc07=files / "empty"),
    ),
    Wrong(
        "size of VOC's images for other data",
        ["evaluate", "svm", "{files}/simclr.ckpt", "--image_size=32", "--device=cpu"],
        "image_size, normalize and download are for voc07",
    ),
    Wrong("misspelt option of a protocol", ["evaluate", "ridge", "x.ckpt", "--penalti=1"], 'Did you mean "--penalty"?'),
]
