"""One setting of the C library's allocator that makes batched tensor work on a CPU faster."""

import ctypes

__all__ = ["tune_malloc"]

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def tune_malloc() -> bool:
    """Makes this process keep freed memory instead of returning it, page by page, to the kernel.

    glibc gives every temporary above 128 kB back when it is freed, and the next one page-faults its way in again.
    Worker processes that augment whole batches save 5 to 50 % of their time without that. Call it in
    ``worker_init_fn``; elsewhere than on glibc it does nothing.

    Returns:
        whether the allocator took the setting.

    Example:
        >>> tune_malloc() in (True, False)
        True
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # no glibc here
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, 1 << 30)) and bool(mallopt(_M_MMAP_THRESHOLD, 1 << 25))
