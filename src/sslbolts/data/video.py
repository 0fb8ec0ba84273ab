"""Videos, as folders of frames or as video files."""

from functools import cached_property
from typing import Unpack, get_args

from torch import Tensor

from sslbolts.checks import one_of
from sslbolts.data.files import FileImages
from sslbolts.data.folder import ImageFolderDataModule
from sslbolts.data.frame_sampler import Clips
from sslbolts.data.frame_windows import FrameArguments, FrameViews, FrameWindows
from sslbolts.data.images import Images, Label, TensorImages, dtype_of
from sslbolts.data.listing import Found, FoundImages
from sslbolts.data.loader import Placement
from sslbolts.data.video_files import Clip, FrameFiles, Layout, VideoFileFrames, clips_of, find_clips
from sslbolts.errors import UsageError

__all__ = ["VideoFramesDataModule"]


class VideoFramesDataModule(FrameWindows, ImageFolderDataModule):
    """Videos: a folder of frames for each, or one for each of its views; or a video file in place of such a folder.

    Frames come in the order of their names, in which numbers count as numbers. An epoch visits every video once,
    whatever its length, and takes from it a window of consecutive frames, or pairs of frames: see ``pairs``. A video
    that is too short for that is left out, and counted in a warning. Devices get different videos. Scale and color are
    drawn for each frame.

    Monitors compare images as they do everywhere: the bank is ``labeled_train``, or the frames, where the layout has
    classes; val and test are ``labeled_val``, which may be a folder ``class/video/frame`` too. Without them no frame
    has a label.

    Video files are decoded by torchcodec, ``pip install "sslbolts[video]"``, which needs FFmpeg.

    Args:
        root: the folder of the videos.
        layout: what the folders below it are: "video", "video/view", "class/video" or "class/video/view". The last one
            holds the frames, or is a video file. Views of a video are taken at the same time, frame by frame; the
            longer ones lose their last frames in pairs.
        square: use the central square of each frame alone, in which the views' ``scale`` then is a part of the area.
        labeled_train: folder(s) of classes for the bank.
        labeled_val: folder(s) of classes for the queries.
        in_memory: as of :class:`~sslbolts.data.ImageFolderDataModule`.
        **common: :class:`~sslbolts.data.frame_windows.FrameArguments`; of :class:`~sslbolts.TimeContrastive` the views
            are "tcn", and for pairs "tcn_multiview".

    Raises:
        UsageError: for a folder that is missing or empty, a frame where the layout has none, or, when training starts,
            if no video is long enough or, for pairs of views, has two.

    Source: the rules are those of the official code of Sermanet et al., Time-Contrastive Networks, ICRA 2018,
    arXiv:1704.06888, where a window never reaches the last frame of a longer video.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> for number in range(12):
        ...     frame = folder / "pouring" / f"{number}.png"
        ...     frame.parent.mkdir(exist_ok=True)
        ...     Image.new("RGB", (48, 32)).save(frame)
        >>> data = VideoFramesDataModule(str(folder), batch_size=8, views="tcn", image_size=32, num_workers=0)
        >>> (batch,) = data.train_dataloader()
        >>> tuple(batch.views[0].shape), batch.indices.diff().unique().tolist()
        ((8, 3, 32, 32), [1])
    """

    _lists = ("labeled_train", "labeled_val")

    def __init__(
        self,
        root: str,
        *,
        layout: Layout = "video",
        square: bool = True,
        labeled_train: str | list[str] | None = None,
        labeled_val: str | list[str] | None = None,
        in_memory: bool | None = None,
        **common: Unpack[FrameArguments],
    ) -> None:
        one_of(get_args(Layout), layout=layout)
        if not isinstance(root, str):
            raise UsageError(f"root={root!r} must be one folder, whose folders are those of layout=.")
        super().__init__(root, labeled_train=labeled_train, labeled_val=labeled_val, in_memory=in_memory, **common)
        self.root = root
        self.layout = layout
        self.square = square

    @cached_property
    def clips(self) -> Clips:
        """The views of all videos, in the order of the training images."""
        return clips_of(self._clips)

    @cached_property
    def _clips(self) -> list[Clip]:
        return find_clips(self.root, self.layout)

    def _found(self, argument: str) -> FoundImages:
        if argument != "root":
            return super()._found(argument)
        if argument not in self._listed:
            frames = [Found(path, clip.class_name) for clip in self._clips for path in clip.frames]
            self._listed[argument] = FoundImages.of(frames)
        return self._listed[argument]

    def _file_images(self, argument: str, found: FoundImages, labels: Tensor) -> FileImages:
        if argument != "root":
            return super()._file_images(argument, found, labels)
        if not self._clips[0].is_file:
            return FrameFiles(found, labels, form=self.form, on_bad_image="raise")
        if self.in_chans != 3:
            raise UsageError(f"in_chans={self.in_chans}, but frames of video files have 3 channels: leave it out.")
        return VideoFileFrames(found, labels, self.clips.places().times)

    def _make_views(self, images: Images, place: Placement) -> FrameViews:
        return super()._make_views(_squares(images) if self.square else images, place)


class SquareImages:
    """The central squares of images that are read one by one.

    Args:
        images: of any size.
    """

    def __init__(self, images: Images) -> None:
        self.images = images
        self.in_chans = images.in_chans
        self.dtype = dtype_of(images)
        self.labeled = images.labeled

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> tuple[Tensor, Label]:
        """Image ``(C, S, S)`` uint8 and its label."""
        image, label = self.images.read(index)
        return _square(image), label


def _squares(images: Images) -> Images:
    if not isinstance(images, TensorImages):
        return SquareImages(images)
    square = _square(images.data)
    return images if square.shape == images.data.shape else TensorImages(square.contiguous(), images.targets)


def _square(pixels: Tensor) -> Tensor:
    height, width = pixels.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[..., top : top + side, left : left + side]
