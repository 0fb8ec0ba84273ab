"""Frames of videos: found in folders or video files, and decoded when they are asked for."""

import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from sslbolts.data.files import EXTENSIONS, FileImages, check_exists, walk
from sslbolts.data.frame_sampler import Clips
from sslbolts.data.pixels import PixelForm
from sslbolts.errors import UsageError
from sslbolts.progress import late_bar

__all__ = [
    "VIDEO_EXTENSIONS",
    "Clip",
    "FrameFiles",
    "Layout",
    "VideoFileFrames",
    "clips_of",
    "find_clips",
    "open_video",
]

VIDEO_EXTENSIONS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ogv")
Layout = Literal["video", "video/view", "class/video", "class/video/view"]
"""The folders below the root, of which the last holds the frames, or is a video file."""

_MOST_OPEN = 4  # decoders per process


class Clip(NamedTuple):
    """One view of one video.

    Attributes:
        sequence: name of the video, with its class.
        class_name: None where the layout has none.
        frames: the files of its frames, in order of time; or its video file, once for every frame.
        is_file: whether it is a video file.
    """

    sequence: str
    class_name: str | None
    frames: list[str]
    is_file: bool


def find_clips(root: str, layout: Layout) -> list[Clip]:
    """All views of all videos in a folder, those of one video side by side.

    Frames are in the order of their names, in which numbers count as numbers: ``frame9`` comes before ``frame10``.

    Args:
        root: the folder.
        layout: what its folders are.

    Raises:
        UsageError: if there is no frame, or one at a place that the layout does not have.
    """
    check_exists("root", [root])
    root = os.path.expanduser(root)
    if not os.path.isdir(root):
        raise UsageError(f'root="{root}" is a file: give the folder that holds the videos.')
    names = layout.split("/")
    folders: dict[tuple[str, ...], list[str]] = {}
    files: dict[tuple[str, ...], str] = {}
    for folder, entries in walk(root):
        parts = () if folder == root else tuple(os.path.relpath(folder, root).split(os.sep))
        for entry in entries:
            name = entry.name.lower()
            if name.endswith(EXTENSIONS):
                _at_its_place(entry.path, len(parts), names, f'"{root}/{"/".join(map(str.upper, names))}/FRAME"')
                folders.setdefault(parts, []).append(entry.path)
            elif name.endswith(VIDEO_EXTENSIONS):
                _at_its_place(entry.path, len(parts) + 1, names, f'"{root}/{"/".join(map(str.upper, names))}.mp4"')
                files[(*parts, os.path.splitext(entry.name)[0])] = entry.path
    if not folders and not files:
        raise UsageError(
            f'root="{root}" holds no videos: looked for folders of frames (files that end in {", ".join(EXTENSIONS)}) '
            f"and for video files ({', '.join(VIDEO_EXTENSIONS)})."
        )
    if folders and files:
        raise UsageError(
            f'root="{root}" holds frames, such as "{next(iter(folders.values()))[0]}", and video files, such as '
            f'"{next(iter(files.values()))}": give each a folder of its own.'
        )
    frames = {parts: sorted(paths, key=_by_number) for parts, paths in folders.items()}
    counted = late_bar(sorted(files), "Counting frames") if files else ()
    frames |= {parts: [files[parts]] * len(open_video(files[parts])) for parts in counted}
    found = []
    for parts in sorted(frames, key=lambda parts: [_by_number(part) for part in parts]):
        sequence = "/".join(parts[:-1] if names[-1] == "view" else parts)
        found.append(Clip(sequence, parts[0] if names[0] == "class" else None, frames[parts], bool(files)))
    return found


def clips_of(found: Sequence[Clip]) -> Clips:
    """The lengths and the sequences of clips."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clip.sequence for clip in found))}
    lengths = torch.tensor([len(clip.frames) for clip in found])
    return Clips(lengths, torch.tensor([numbers[clip.sequence] for clip in found]))


def _at_its_place(path: str, depth: int, names: list[str], expected: str) -> None:
    if depth != len(names):
        raise UsageError(
            f'"{path}" is not where layout="{"/".join(names)}" has it, {expected}: give another layout, or move it.'
        )


def _by_number(name: str) -> list[Any]:
    parts: Iterator[tuple[int, str]] = enumerate(re.split(r"(\d+)", name))
    return [*(int(part) if place % 2 else part for place, part in parts), name]


class FrameFiles(FileImages):
    """Frames that are image files."""

    _advice = "write it again, or remove its video"


class VideoFileFrames(FrameFiles):
    """Frames that are decoded out of video files.

    Args:
        paths: the video file of every frame; a file's frames are in order of time.
        targets: label of each frame, -1 where it has none.
        times: ``(N,)`` each frame's place in its file.
    """

    def __init__(self, paths: Sequence[str], targets: Sequence[int], times: Tensor) -> None:
        super().__init__(paths, targets, form=PixelForm(), on_bad_image="raise")
        self.times = times
        self._decoders: OrderedDict[tuple[int, str], Any] = OrderedDict()

    def _decode(self, index: int) -> Tensor:
        key = (os.getpid(), self._path(index))  # a decoder does not survive a fork
        if key not in self._decoders:
            while len(self._decoders) >= _MOST_OPEN:
                self._decoders.popitem(last=False)
            self._decoders[key] = open_video(key[1])
        self._decoders.move_to_end(key)
        frame: Tensor = self._decoders[key].get_frame_at(int(self.times[index])).data
        return frame

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_decoders": OrderedDict()}


def open_video(path: str) -> Any:
    """A decoder of torchcodec: ``len()`` counts its frames, ``get_frame_at(i).data`` is ``(3, H, W)`` uint8.

    Raises:
        UsageError: if torchcodec, or FFmpeg, is not there, or the file cannot be read.
    """
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError) as error:  # RuntimeError where it finds no FFmpeg
        raise UsageError(
            f'"{path}" is a video file, which torchcodec and FFmpeg read, and torchcodec cannot be imported '
            f'({str(error).splitlines()[0]}): `pip install "sslbolts[video]"` and install FFmpeg, or give folders of '
            "frames."
        ) from None
    try:
        return VideoDecoder(path)
    except Exception as error:  # whatever a broken file runs it into
        raise UsageError(f'"{path}" cannot be read as a video ({error}): remove it, or write it again.') from None
