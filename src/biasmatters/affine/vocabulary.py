"""What torch's functions are known to do, by their canonical names."""

from __future__ import annotations

RANDOM = {
    "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "bernoulli",
    "multinomial", "normal", "uniform", "exponential", "poisson", "cauchy", "log_normal",
    "geometric", "random", "native_dropout", "fused_dropout", "binomial", "rrelu_with_noise",
}  # fmt: skip
"""They draw random numbers."""

ASKS = {
    "dim", "size", "numel", "nelement", "stride", "storage_offset", "element_size", "get_shape",
    "get_ndim", "get_dtype", "get_device", "get_layout", "get_is_cuda", "get_requires_grad",
    "get_is_leaf", "is_floating_point", "is_complex", "is_contiguous", "get_itemsize",
    "get_nbytes", "get_is_sparse", "get_is_quantized", "get_is_nested", "is_inference",
}  # fmt: skip
"""They ask for a tensor's shape, type or place, and give nothing made of its values."""

SHAPED = {"ones_like", "zeros_like", "empty_like", "full_like", "new_zeros", "new_ones",
          "new_full", "new_empty", "new_tensor", "new"}  # fmt: skip
"""Their results have the shape and type of their first argument, and nothing of its values."""

COMPARES = {"__gt__", "__lt__", "__ge__", "__le__", "__eq__", "__ne__", "gt", "lt", "ge", "le",
            "eq", "ne", "greater", "less", "greater_equal", "less_equal"}  # fmt: skip
"""They give a mask by a threshold."""

COUNTS = {"heaviside", "histc", "bincount", "one_hot", "isclose", "signbit"}
"""Piecewise constant functions whose boundaries are not measured."""

LEAVES_TORCH = {"item", "tolist", "numpy", "__float__", "__int__", "__array__", "__format__",
                "__complex__", "__dlpack__", "untyped_storage", "storage", "__reduce_ex__",
                "__deepcopy__"}  # fmt: skip
"""They give values or memory to Python, where no tape sees them; ``copy.copy`` does."""

MOVES = {
    "flatten", "unflatten", "reshape", "view", "view_as", "reshape_as", "permute", "transpose",
    "swapaxes", "swapdims", "movedim", "moveaxis", "t", "get_T", "get_mT", "squeeze", "unsqueeze",
    "expand", "expand_as", "broadcast_to", "repeat", "tile", "repeat_interleave", "flip", "fliplr",
    "flipud", "roll", "rot90", "split", "chunk", "tensor_split", "unbind", "split_with_sizes",
    "narrow", "select", "getitem", "index_select", "diagonal", "ravel", "stack", "atleast_1d",
    "atleast_2d", "atleast_3d", "hsplit", "vsplit", "dsplit", "masked_select", "as_strided",
    "write_at_index", "write_into_view", "gather", "take_along_dim", "take", "index_put",
    "index_copy", "index_fill", "scatter", "slice_scatter", "select_scatter", "broadcast_tensors",
    "meshgrid",
}  # fmt: skip
"""They move values, so that samples are followed by moving their numbers."""

WRITES = {"__setitem__", "copy", "fill", "zero", "set_data"}
"""Few functions have one of these names, and most of them overwrite their first argument."""

NEW = {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
       "batch_norm", "linear", "relu", "relu6", "hardtanh", "leaky_relu", "gelu", "add", "mul",
       "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"}  # fmt: skip
"""Their results have memory of their own."""
