"""Lists of image files: their size, their order, and that a node makes them once."""

import os
import threading
import tracemalloc
from types import SimpleNamespace

import pytest
import torch
from torchvision.datasets import ImageFolder

from sslbolts.data.listing import EXTENSIONS, Found, FoundImages, find_images
from sslbolts.data.per_node import once_per_node
from sslbolts.errors import UsageError
from tests.data.helpers import small, write_folder


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """5,000 hard links in 50 folders of classes, of which every fifth is one folder deeper, and some other files."""
    root = tmp_path_factory.mktemp("many")
    (root / "source").write_bytes(b"")
    for folder in range(50):
        place = root / "images" / f"n{folder:08}" / ("deeper" if folder % 5 == 0 else "")
        place.mkdir(parents=True)
        for number in range(100):
            (place / f"n{folder:08}_{number * 7919 % 1000:05}{EXTENSIONS[number % 3]}").hardlink_to(root / "source")
        (place / "notes.txt").touch()
    return root / "images"


def test_images_and_classes_are_those_of_torchvision(many):
    theirs = ImageFolder(str(many))
    found = find_images("root", [str(many)])
    assert [image.path for image in found] == [path for path, _ in theirs.samples]
    numbers = {name: number for number, name in enumerate(sorted(found.class_names))}
    assert numbers == theirs.class_to_idx
    assert found.labels(numbers).tolist() == theirs.targets


def test_a_file_takes_less_than_100_bytes_and_no_objects(many):
    tracemalloc.start()
    images = small(many).images("train")
    held = tracemalloc.get_traced_memory()[0] + images.targets.nbytes + len(images)  # torch's tensors are not traced
    tracemalloc.stop()
    assert held < 100 * len(images)


def test_some_of_the_images_share_the_names_of_all(many):
    found = find_images("root", [str(many)])
    rows = torch.randperm(len(found))[:100].tolist()
    some = found.take(rows)
    assert [*some] == [found[row] for row in rows]
    assert [*some.take([5, 3])] == [*some[5:6], *some[3:4]] == [found[rows[5]], found[rows[3]]]
    assert some.names is found.names
    assert some.class_names == {found[row].class_name for row in rows}
    assert some[-1] == found[rows[-1]]
    with pytest.raises(IndexError):
        some[100]


def test_names_of_any_bytes_come_back():
    given = [Found("1.png", None), Found("/2.png", None), Found("a/\udcff é\n.png", "a"), Found("b/1.png", None)]
    found = FoundImages.of(given)
    assert [*found] == given
    assert found.first_without_class() == "1.png"
    assert found.take([2]).first_without_class() is None


class Node:
    """A thread per process of a node."""

    def __init__(self, processes):
        self.processes = processes
        self.said, self.lock = threading.Barrier(processes, timeout=20), threading.Lock()
        self.token = None

    def broadcast(self, value):
        with self.lock:
            self.token = self.token or value
        return self.token

    def barrier(self):
        self.said.wait()

    def run(self, function):
        """What ``function`` gives, or raises, in each process."""
        answers = [None] * self.processes

        def answer(rank):
            try:
                answers[rank] = function(SimpleNamespace(local_rank=rank, node_rank=0, strategy=self))
            except UsageError as error:
                answers[rank] = error

        threads = [threading.Thread(target=answer, args=(rank,)) for rank in range(self.processes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def test_one_process_of_a_node_lists_for_all_and_leaves_nothing(tmp_path, temporary):
    root = write_folder(tmp_path / "images", per_class=2)
    (root / "cat" / "\udcff.png").touch()
    calls = []
    lists = {name: lambda: calls.append(1) or find_images("root", [str(root)]) for name in ("root", "labeled_val")}
    answers = Node(3).run(lambda process: once_per_node(process, lists))
    assert len(calls) == 2
    plain = [*find_images("root", [str(root)])]
    assert [[*answer[name]] for answer in answers for name in lists] == [plain] * 6
    assert os.listdir(temporary) == []


def test_where_processes_share_no_temporary_folder_each_lists(tmp_path, temporary):
    root = write_folder(tmp_path / "images", per_class=2)
    temporary.rmdir()
    answers = Node(2).run(lambda process: once_per_node(process, {"root": lambda: find_images("root", [str(root)])}))
    assert [len(answer["root"]) for answer in answers] == [4, 4]


def test_what_is_wrong_with_a_folder_is_said_by_all_processes(tmp_path, temporary):
    answers = Node(2).run(
        lambda process: once_per_node(process, {"root": lambda: find_images("root", [str(tmp_path)])})
    )
    assert [type(answer) for answer in answers] == [UsageError] * 2
    assert "holds no images" in str(answers[0]) == str(answers[1])
    assert os.listdir(temporary) == []
