"""What a piece of torch code costs, counted tensor by tensor and product by product: on any device, or on none."""

import weakref
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from kolors_course.libraries import numbers

RELEASE = numbers(torch.__version__)
RESULT = "out" if RELEASE < (2, 4, 0) else "out_val"  # the argument of torch's formulas


class Meter(TorchDispatchMode):
    """Within this context new tensors are counted until they are given back, and so is every product and convolution.

    On the meta device nothing is computed, so that a model far larger than the machine can be measured. Not counted
    is what an operation takes for itself and returns before it ends, such as the workspace of a convolution.

    Torch's own FlopCounterMode counts the same operations, but its hooks keep what checkpointing would give back.

    Attributes:
        bytes: held now, by tensors made since the context began.
        peak: the most bytes that were held at once.
        flop: floating-point operations, a multiplication and an addition being two.
        calls: how many operations of torch were called, whatever their size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self.peak = 0
        self.flop = 0
        self.calls = 0
        self._known: set[int] = set()

    @property
    def tflop(self) -> float:
        return self.flop / 1e12

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for tensor in _tensors((args, kwargs)):
            self._note(tensor.untyped_storage(), is_new=False)
        if func._overloadpacket not in flop_registry:
            # In inference mode torch up to 2.5 hands over whole layers: look at what they are made of.
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        self.calls += 1
        for tensor in _tensors(result):
            self._note(tensor.untyped_storage(), is_new=True)
        if count := flop_registry.get(func._overloadpacket):
            self.flop += count(*args, **kwargs, **{RESULT: result})
        return result

    def _note(self, storage: torch.UntypedStorage, is_new: bool) -> None:
        """Count a storage that was not seen yet, unless it was there before the context began."""
        key = id(storage)
        if key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes() if is_new else 0
        self.bytes += size
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self._given_back, key, size)  # the next storage may get the same id

    def _given_back(self, key: int, size: int) -> None:
        self.bytes -= size
        self._known.discard(key)


def fused_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Attention by a fused kernel, which keeps no scores. On the meta device torch would not choose one by itself."""
    keep = torch.is_grad_enabled()
    return torch.ops.aten._scaled_dot_product_efficient_attention(query, key, value, bias, keep)[0]


def _efficient_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, keep: bool, *_: Any, **__: Any
) -> tuple[Tensor, ...]:
    """The kernel's results without numbers: of the attention, and what its backward pass needs."""
    batch, heads, rows = query.shape[:3]
    attended = query.new_empty(batch, rows, heads, value.shape[-1]).transpose(1, 2)
    sums = query.new_empty(batch, heads, -(-rows // 32) * 32 if keep else 0, dtype=torch.float32)
    seed, offset = (query.new_empty((), dtype=torch.long) for _ in range(2))
    return attended, sums, seed, offset


# Torch has it from 2.5 on; the library has to be kept for what it registers to stay.
_META = torch.library.Library("aten", "IMPL", "Meta") if RELEASE < (2, 5, 0) else None
if _META:
    _META.impl("_scaled_dot_product_efficient_attention", _efficient_attention)

if RELEASE < (2, 4, 0):
    # Checkpointing asks for the module of the device, and there is none of this one.
    torch._register_device_module("meta", torch.cpu)


class FusedAttention(TorchFunctionMode):
    """Within this context torch's attention is `fused_attention`; only without gradients."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            query, key, value = args[:3]
            return fused_attention(query, key, value, args[3] if len(args) > 3 else kwargs.get("attn_mask"))
        return func(*args, **kwargs)


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
