"""A device without float64 that there is not: its tensors say that they lie on "mps", and are computed on the CPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from tests.helpers.pretended_generators import pretended_generators

_NONE = (torch.float64, torch.complex128)
_DEVICE = torch.device("mps")
_TAKES_OTHERS = ("aten::copy_", "aten::index.", "aten::index_put", "aten::_to_copy")  # of a real device, too


class Pretended(Tensor):
    """A tensor of the pretended device; of float64 there is none."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Pretended":
        if inner.dtype in _NONE:
            raise TypeError(f"the pretended device has no {inner.dtype}")
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        # The library is told "meta", whose autograd works without a device.
        return Tensor._make_wrapper_subclass(cls, inner.size(), device="meta", **layout)

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    @property
    def device(self) -> torch.device:
        return _DEVICE

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Move(torch.autograd.Function):
    """A copy on the device, or on the CPU; the gradient goes the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, there: bool, dtype: torch.dtype) -> Tensor:
        ctx.there, ctx.dtype = there, x.dtype
        inner = x.inner if isinstance(x, Pretended) else x
        copy = inner.to(dtype, copy=True)
        return Pretended(copy) if there else copy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        inner = grad.inner if isinstance(grad, Pretended) else grad
        copy = inner.to(ctx.dtype)
        return (copy if ctx.there else Pretended(copy)), None, None


class _Factories(TorchDispatchMode):
    """What is made on "mps" is pretended."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Moves(TorchFunctionMode):
    """Moves to the device and back: ``Tensor.to`` asks the library for the device before anybody else is asked."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.tolist and isinstance(args[0], Pretended):  # which tensors of other classes refuse
            return args[0].inner.tolist()
        if func is Tensor.new_tensor and isinstance(args[0], Pretended):  # which the library makes where it was told
            return Pretended(torch.tensor(args[1], **{"dtype": args[0].dtype, **kwargs}))
        if func is torch.tensor and torch.device(kwargs.get("device") or "cpu").type == "mps":
            return Pretended(torch.tensor(*args, **{**kwargs, "device": "cpu"}))
        if func is not Tensor.to:
            return func(*args, **kwargs)
        x, *rest = args
        asked = [v for v in (*rest, *kwargs.values()) if isinstance(v, str | torch.device | Tensor)]
        device = next((v.device if isinstance(v, Tensor) else torch.device(v) for v in asked), x.device)
        dtypes = [v.dtype if isinstance(v, Tensor) else v for v in (*rest, *kwargs.values())]
        dtype = next((v for v in dtypes if isinstance(v, torch.dtype)), x.dtype)
        if device == x.device:
            return x if dtype == x.dtype else func(x, dtype)
        moved: Tensor = _Move.apply(x, device.type == "mps", dtype)
        return moved


@contextmanager
def pretended_device() -> Iterator[Callable[[Tensor], Tensor]]:
    """In this context "mps" is there; the function that it gives moves a tensor to it."""
    with pretended_generators("mps"), _Factories(), _Moves():
        yield Pretended


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    pretended = [value for value in given if isinstance(value, Pretended)]
    asked = kwargs.get("device")
    there = bool(pretended) if asked is None else torch.device(asked).type in ("mps", "meta")
    strangers = [value for value in given if not isinstance(value, Pretended) and value.dim()]
    if pretended and strangers and not str(func.name()).startswith(_TAKES_OTHERS):
        raise RuntimeError(f"{func.name()}: tensors are on two devices, the pretended one and the CPU")
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if func is torch.ops.aten._to_copy.default and asked is not None and "dtype" not in kwargs:
        kwargs["dtype"] = args[0].dtype
    owner = {id(value.inner): value for value in pretended}
    inner_args, inner_kwargs = tree_map(lambda x: x.inner if isinstance(x, Pretended) else x, (args, kwargs))
    found = func(*inner_args, **inner_kwargs)

    def back(value: Any) -> Any:
        if not isinstance(value, Tensor) or not there:
            return value
        return owner.get(id(value)) if id(value) in owner else Pretended(value)

    return tree_map(back, found)
