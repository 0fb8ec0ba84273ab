import ctypes
import sys

from sslbolts.transforms import tune_malloc


def test_the_setting_is_taken_where_there_is_glibc():
    assert tune_malloc() is (sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version"))


def test_other_c_libraries_are_left_alone(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert tune_malloc() is False
