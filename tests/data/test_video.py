"""Videos in folders and in files, and videos made of still images."""

import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from PIL import Image

from sslbolts.data import MovingImagesDataModule, TensorImages, VideoFramesDataModule, video_files
from sslbolts.data.moving import MovingImages
from sslbolts.errors import UsageError
from sslbolts.transforms import MultiView, View
from tests.data.helpers import Recorder, epoch, quiet_trainer
from tests.data.test_fit import SaveAfter

PLAIN = MultiView((View(8, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0),), normalize=False)


def write_video(folder, frames, color, *, first=0, size=(8, 8)):
    """Frames ``8.png``, ``9.png``, ``10.png``, ..., whose red is the time and whose green is ``color``."""
    folder.mkdir(parents=True)
    for time in range(frames):
        Image.new("RGB", size, (time, color, 0)).save(folder / f"{first + time}.png")


def videos(root, **settings):
    arguments = {"batch_size": 6, "views": PLAIN, "num_workers": 0, "seed": 0}
    return VideoFramesDataModule(str(root), **(arguments | settings))


def shown(view):
    """Time and color of every frame of a view."""
    return [tuple(pixel) for pixel in (view[:, :2, 4, 4] * 255).round().int().tolist()]


@pytest.fixture(scope="module")
def two_views(tmp_path_factory):
    """Three videos of 12, 9 and 4 moments, of which the first has three views, the others two; names as of a camera."""
    root = tmp_path_factory.mktemp("videos")
    for number, (frames, views) in enumerate(((12, 3), (9, 2), (4, 2))):
        for view in range(views):
            write_video(root / f"pour{number}" / f"view{view}", frames, 10 * number + view, first=8)
    return root


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_batch_is_a_window_and_its_indices_tell_sequence_and_time(two_views, in_memory):
    data = videos(two_views, layout="video/view", in_memory=in_memory)
    loader = data.train_dataloader()
    assert data.num_train_images == 12 * 3 + 9 * 2 + 4 * 2
    batches = [data.on_after_batch_transfer(batch, 0) for batch in loader]
    assert len(batches) == 2  # the third video is too short
    for batch in batches:
        (view,) = batch.views
        times, colors = zip(*shown(view))
        assert list(times) == list(range(times[0], times[0] + 6))
        assert len(set(colors)) == 1
        places = loader.dataset.frame_places
        assert places.times[batch.indices].tolist() == list(times)
        assert places.sequences[batch.indices].tolist() == [colors[0] // 10] * 6
        assert batch.targets.tolist() == [-1] * 6


@pytest.mark.parametrize("where", ["device", "worker"])
def test_pairs_of_views_are_two_views_of_one_moment(two_views, where):
    data = videos(two_views, layout="video/view", pairs="views", batch_size=4, augment_on=where, in_memory=False)
    for batch in epoch(data):
        anchors, positives = map(shown, batch.views)
        assert [time for time, _ in anchors] == [time for time, _ in positives]
        assert all(a != p and a // 10 == p // 10 for (_, a), (_, p) in zip(anchors, positives, strict=True))
        assert len(batch.indices) == len(batch.targets) == 4
        assert data.clips.places().times[batch.indices].tolist() == [time for time, _ in anchors]


def test_videos_that_are_too_short_are_counted(two_views, caplog, recwarn):
    videos(two_views, layout="video/view").train_dataloader()
    (said,) = [str(warning.message) for warning in recwarn if "sequences" in str(warning.message)]
    assert said.startswith("1 of 3 sequences are not trained on: they have fewer than the 6 frames")


def test_color_is_drawn_for_every_frame(tmp_path):
    write_video(tmp_path / "still", 30, 100)
    view = View(8, scale=(1.0, 1.0), ratio=(1.0, 1.0), jitter=(0.4, 0, 0, 0), jitter_p=1.0)
    data = videos(tmp_path, batch_size=30, views=MultiView((view,), normalize=False))
    (batch,) = epoch(data)
    assert len({color for _, color in shown(batch.views[0])}) > 10


def test_only_the_central_square_of_a_frame_is_used(tmp_path):
    folder = tmp_path / "wide"
    folder.mkdir()
    wide = torch.zeros(8, 24, 3, dtype=torch.uint8)
    wide[:, 8:16] = 200
    for time in range(6):
        Image.fromarray(wide.numpy()).save(folder / f"{time}.png")
    anywhere = MultiView((View(8, scale=(0.3, 1.0), ratio=(1.0, 1.0)),), normalize=False)
    for in_memory in (True, False):
        (batch,) = epoch(videos(tmp_path, views=anywhere, in_memory=in_memory))
        assert (batch.views[0] * 255).round().unique().tolist() == [200]
        (batch,) = epoch(videos(tmp_path, views=anywhere, in_memory=in_memory, square=False))
        assert batch.views[0].min() == 0


def test_folders_of_classes_give_labels_to_frames(tmp_path):
    for label, name in enumerate(("jump", "run")):
        for number in range(2):
            write_video(tmp_path / name / f"{number}", 6, 50 * label + number)
    data = videos(tmp_path, layout="class/video", labeled_val=str(tmp_path))
    assert data.class_names == ("jump", "run")
    assert data.targets("train").tolist() == [0] * 12 + [1] * 12
    for batch in epoch(data):
        assert batch.targets.tolist() == [int(shown(batch.views[0])[0][1] >= 50)] * 6
    assert sum(len(batch[0]) for batch in data.bank_dataloader()) == 24
    assert sum(len(batch[0]) for batch in data.val_dataloader()) == 24


def test_without_classes_no_frame_has_a_label(two_views):
    with pytest.raises(UsageError, match="no labeled training images for a bank"):
        videos(two_views, layout="video/view").bank_dataloader()


@pytest.mark.parametrize("step", [5, 11])
def test_a_resumed_run_sees_what_the_uninterrupted_one_would(two_views, tmp_path, step):
    def fit(path=None, *callbacks):
        model = Recorder()
        data = videos(two_views, layout="video/view", batch_size=4, windows_per_sequence=3)
        quiet_trainer(max_epochs=2, callbacks=[*callbacks]).fit(model, datamodule=data, ckpt_path=path)
        return [seen[2:] for seen in model.seen]

    whole = fit(None, SaveAfter(step, tmp_path / "step.ckpt"))
    assert len(whole) == 18
    assert fit(tmp_path / "step.ckpt") == whole[step:]


def rows_of_rank(root):
    model = Recorder()
    trainer = quiet_trainer(max_epochs=4, devices=2, strategy="ddp", num_sanity_val_steps=0)
    trainer.fit(model, datamodule=videos(root, layout="video/view", batch_size=4))
    return [rows for _, _, rows, _ in model.seen]


def test_ranks_see_different_videos(two_ranks, two_views):
    sequences = videos(two_views, layout="video/view").clips.places().sequences
    first, second = two_ranks(rows_of_rank, str(two_views))
    assert len(first) == len(second) == 4
    assert all(sequences[a[0]] != sequences[b[0]] for a, b in zip(first, second))


def test_overfitting_trains_on_the_same_videos_every_epoch(two_views):
    model = Recorder()
    data = videos(two_views, layout="video/view", batch_size=4)
    quiet_trainer(max_epochs=3, overfit_batches=1, num_sanity_val_steps=0).fit(model, datamodule=data)
    sequences = data.clips.places().sequences
    assert {int(sequences[rows[0]]) for _, _, rows, _ in model.seen} == {0}


# ----------------------------------------------------------------------------------------------------- video files


class StandIn:
    """A decoder as torchcodec's, of a file that holds the number of frames and a color."""

    opened: list[str] = []

    def __init__(self, path):
        self.opened.append(path)
        self.frames, self.color = map(int, Path(path).read_text().split())

    def __len__(self):
        return self.frames

    def get_frame_at(self, index):
        color = torch.tensor([index, self.color, 0], dtype=torch.uint8)
        return SimpleNamespace(data=color[:, None, None].expand(3, 8, 8))


@pytest.fixture
def stand_in(monkeypatch):
    decoders = ModuleType("torchcodec.decoders")
    decoders.VideoDecoder = StandIn
    monkeypatch.setitem(sys.modules, "torchcodec", ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", decoders)
    monkeypatch.setattr(StandIn, "opened", [])


def write_files(root, *names):
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{8 + number} {10 * number}")


@pytest.mark.usefixtures("stand_in")
def test_a_video_file_stands_for_a_folder_of_frames(tmp_path):
    write_files(tmp_path, "a.mp4", "b.MKV", "notes.txt")
    data = videos(tmp_path, in_memory=False)
    assert data.num_train_images == 8 + 9
    assert data.paths("train")[7:9] == [str(tmp_path / "a.mp4"), str(tmp_path / "b.MKV")]
    batches = epoch(data)
    assert sorted(shown(batch.views[0])[0][1] for batch in batches) == [0, 10]
    for batch in batches:
        assert [time for time, _ in shown(batch.views[0])] == data.clips.places().times[batch.indices].tolist()


@pytest.mark.usefixtures("stand_in")
def test_video_files_may_be_views_and_their_decoders_stay_where_they_are(tmp_path):
    write_files(tmp_path, *(f"pour/view{number}.mp4" for number in range(6)))
    data = videos(tmp_path, layout="video/view", in_memory=False)
    assert data.clips.sequences.tolist() == [0] * 6
    images = data.images("train")
    assert [images.read(index)[0][1, 0, 0].item() for index in range(0, len(images), 3)]
    assert len(images._decoders) == 4
    again = pickle.loads(pickle.dumps(images))
    assert len(again._decoders) == 0
    assert torch.equal(again.read(20)[0], images.read(20)[0])


def test_without_torchcodec_a_video_file_is_refused_by_name(tmp_path, monkeypatch):
    write_files(tmp_path, "a.mp4")
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(UsageError, match=r'a\.mp4" is a video file, .* `pip install "sslbolts\[video\]"`'):
        videos(tmp_path).train_dataloader()


def test_without_ffmpeg_too(tmp_path, monkeypatch):
    class NoFFmpeg:
        def find_spec(self, name, path=None, target=None):
            if name.startswith("torchcodec"):
                raise RuntimeError("Could not load libtorchcodec.\nLikely causes: ...")

    write_files(tmp_path, "a.mp4")
    monkeypatch.setattr(sys, "meta_path", [NoFFmpeg(), *sys.meta_path])
    with pytest.raises(UsageError, match=r"cannot be imported \(Could not load libtorchcodec\.\)"):
        video_files.open_video(str(tmp_path / "a.mp4"))


def test_torchcodec_itself_reads_frames_at_their_times(tmp_path):
    try:
        from torchcodec.decoders import VideoDecoder
        from torchcodec.encoders import VideoEncoder
    except (ImportError, OSError, RuntimeError):
        pytest.skip("needs torchcodec and FFmpeg")
    gray = (4 * torch.arange(40, dtype=torch.uint8))[:, None, None, None].expand(40, 3, 64, 64)
    VideoEncoder(gray.contiguous(), frame_rate=10).to_file(str(tmp_path / "a.mp4"))
    data = videos(tmp_path, batch_size=12, in_memory=False)
    assert data.num_train_images == 40
    (batch,) = epoch(data)
    torch.testing.assert_close((batch.views[0] * 255).mean((1, 2, 3)), 4.0 * batch.indices, atol=4.0, rtol=0)
    decoder = VideoDecoder(str(tmp_path / "a.mp4"))
    for index in (39, 0, 17):
        assert torch.equal(data.images("train").read(index)[0], decoder.get_frame_at(index).data)


@pytest.mark.usefixtures("stand_in")
def test_a_broken_video_file_is_named(tmp_path):
    (tmp_path / "a.mp4").write_text("no numbers")
    with pytest.raises(UsageError, match=r'a\.mp4" cannot be read as a video'):
        videos(tmp_path).train_dataloader()


# -------------------------------------------------------------------------------------------------------- mistakes


def test_mistakes_are_one_clear_line(two_views, tmp_path):
    (tmp_path / "empty").mkdir()
    write_video(tmp_path / "mixed" / "a", 3, 0)
    write_files(tmp_path / "mixed", "b.mp4")
    write_video(tmp_path / "broken" / "a", 8, 0)
    (tmp_path / "broken" / "a" / "3.png").write_bytes(b"no image")
    mistakes = {
        'empty" holds no videos': lambda: videos(tmp_path / "empty"),
        'nowhere" does not exist': lambda: videos(tmp_path / "nowhere"),
        "must be one folder": lambda: VideoFramesDataModule([str(two_views)]),
        'layout="films"': lambda: videos(two_views, layout="films"),
        'is not where layout="video" has it': lambda: videos(two_views),
        "holds frames, such as": lambda: videos(tmp_path / "mixed"),
        "the longest has 12": lambda: videos(two_views, layout="video/view", batch_size=20),
        "there is one of each": lambda: videos(tmp_path / "broken", pairs="views", batch_size=2, in_memory=False),
        "write it again, or remove its video": lambda: videos(tmp_path / "broken", batch_size=8, in_memory=False),
        "views= makes 2 views of a frame": lambda: videos(two_views, pairs="views", views="simclr"),
        "batch_size=6 is no multiple of rows_per_sequence=4": lambda: videos(two_views, rows_per_sequence=4),
        "images that were exchanged have no time": lambda: videos(two_views, layout="video/view").with_images(
            train=TensorImages(torch.zeros(8, 3, 8, 8, dtype=torch.uint8))
        ),
    }
    for words, make in mistakes.items():
        with pytest.raises(UsageError) as raised:
            epoch(make())
        assert words in str(raised.value)
        assert "\n" not in str(raised.value)


# --------------------------------------------------------------------------------------------------- moving images


def test_moving_images_are_parts_of_images_on_straight_paths():
    size, count = 32, 11
    ramp = torch.arange(size, dtype=torch.uint8) * 8
    still = torch.stack((ramp[:, None].expand(size, size), ramp.expand(size, size), torch.zeros(size, size)))
    moving = MovingImages(TensorImages(still[None].to(torch.uint8).repeat(3, 1, 1, 1)), frames=count)
    assert len(moving) == 3 * 2 * count
    _, boxes = moving.stills(torch.arange(len(moving)))
    top, left, height, width = boxes.unbind(1)
    assert torch.equal(height, width)
    assert height.min() >= 0.45 * size - 0.5
    assert (boxes[:, :2] >= 0).all()
    assert (top + height).max() <= size
    assert (left + width).max() <= size
    of_clips = boxes.view(6, count, 4)
    assert (of_clips[:, 0] != of_clips[:, -1]).any(1).all(), "each of them moves"
    steps = of_clips.diff(dim=1).abs().amax((1, 2))
    assert steps.max() <= 0.5 * size / (count - 1) + 1, "and none jumps"
    # A frame is what is in the box: its mean is that of the box.
    for row in (0, 17, 40):
        frame, _ = moving.read(row)
        y, x, h, w = boxes[row].int().tolist()
        expected = still[:, y : y + h, x : x + w].float().mean((1, 2))
        torch.testing.assert_close(frame.float().mean((1, 2)), expected, atol=1.0, rtol=0)


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize("where", ["device", "worker"])
def test_moving_images_come_as_windows_with_the_images_own_labels(where):
    data = MovingImagesDataModule(
        batch_size=16, rows_per_sequence=8, num_workers=0, views=PLAIN, image_size=None, augment_on=where, seed=0
    )
    batch = epoch(data)[0]
    stills = data.images("bank")
    assert batch.targets.tolist() == [stills.targets[row // 64].item() for row in batch.indices.tolist()]
    assert batch.indices.view(2, 8).diff().unique().tolist() == [1]
    assert len(stills) < data.num_train_images == 64 * len(stills)
    assert {len(images) for images, *_ in data.val_dataloader()} == {16, len(data.images("val")) % 16} - {0}
