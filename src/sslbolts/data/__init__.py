"""DataModules: images of the package, of torchvision, folders, videos or any dataset, as batches of views; and text."""

from sslbolts.data.base import SSLDataModule
from sslbolts.data.cifar import CIFAR10DataModule, CIFAR10MiniDataModule, CIFAR100DataModule
from sslbolts.data.dataset import DatasetDataModule
from sslbolts.data.folder import ImageFolderDataModule
from sslbolts.data.images import Images, TensorImages
from sslbolts.data.moving import MovingImagesDataModule
from sslbolts.data.stl10 import STL10DataModule
from sslbolts.data.stream import StreamDataModule
from sslbolts.data.text import TextDataModule
from sslbolts.data.video import VideoFramesDataModule
from sslbolts.data.vocabulary import Vocabulary

__all__ = [
    "CIFAR10DataModule",
    "CIFAR10MiniDataModule",
    "CIFAR100DataModule",
    "DatasetDataModule",
    "ImageFolderDataModule",
    "Images",
    "MovingImagesDataModule",
    "SSLDataModule",
    "STL10DataModule",
    "StreamDataModule",
    "TensorImages",
    "TextDataModule",
    "VideoFramesDataModule",
    "Vocabulary",
]
