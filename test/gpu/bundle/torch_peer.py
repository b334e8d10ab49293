#!/usr/bin/env python3
"""The driver with torch beside it: the same kernels, and torch's attention taking turns with them in one process.

    python3 torch_peer.py bench FOLDER JSON      python3 torch_peer.py attention POLICY.so…
"""
import ctypes
import math
import os
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

PEER = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_char_p, *[ctypes.c_int] * 5)
FLOATS = ctypes.POINTER(ctypes.c_float)
JUDGE = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_int] * 5, *[FLOATS] * 5)

CACHES = 256 << 20  # bytes, more than any cache of the device
work = {"key": None}  # the last case's tensors and call; a case is asked for many times in a row


def prepare(what, batch, context, kv_heads, group, dim):
    def normal(*shape):
        return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)

    if what == "matmul":
        a, b = normal(batch, batch), normal(batch, batch)
        return lambda: a @ b
    queries = 1 if what == "decode" else context
    q = normal(batch, kv_heads * group, queries, dim)
    k, v = normal(batch, kv_heads, context, dim), normal(batch, kv_heads, context, dim)
    # prefill: as flash attention wants it. decode: all query heads of a KV head as the rows of one product
    if what == "decode":
        rows = q.reshape(batch, kv_heads, group, dim)
        return lambda: F.scaled_dot_product_attention(rows, k, v)
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)  # not timed: every torch has it
    return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)


def peer(what, batch, context, kv_heads, group, dim):
    """Microseconds of one call; NaN when torch cannot do it here."""
    try:
        key = (what, batch, context, kv_heads, group, dim)
        if work["key"] != key:
            work.clear()
            torch.cuda.empty_cache()
            work.update(key=key, call=prepare(what.decode(), *key[1:]))
            work.update(caches=torch.ones(CACHES // 4, device="cuda"))
            with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
                for _ in range(3):
                    work["call"]()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            work["caches"].sum()  # fills the caches, and the device is busy while Python prepares the call
            begin.record()
            work["call"]()
            end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e3
    except Exception as error:  # an exception cannot pass through the driver
        work.update(key=None)
        print(f"torch: {error}", file=sys.stderr)
        return math.nan


def judge(queries, tokens, kv_heads, group, dim, q, k, v, out, lse):
    """Largest difference from causal attention in f64, of out and of the log-sum-exp, for the last `queries` of `tokens`."""
    try:
        def tensor(p, *shape):
            array = (ctypes.c_float * math.prod(shape)).from_address(ctypes.addressof(p.contents))
            return torch.frombuffer(array, dtype=torch.float32).reshape(shape).to("cuda", torch.float64)

        q, out = (tensor(p, queries, kv_heads, group, dim) for p in (q, out))
        k, v = (tensor(p, tokens, kv_heads, dim) for p in (k, v))
        lse = tensor(lse, queries, kv_heads, group)
        mask = torch.ones(queries, tokens, device="cuda", dtype=torch.bool).triu(1 + tokens - queries)
        off = []
        for h in range(kv_heads):
            for g in range(group):
                x = (q[:, h, g] @ k[:, h].T / math.sqrt(dim)).masked_fill(mask, -math.inf)
                off.append((torch.softmax(x, 1) @ v[:, h] - out[:, h, g]).abs().max())
                off.append((torch.logsumexp(x, 1) - lse[:, h, g]).abs().max())
        return torch.stack(off).max().item()  # NaN where one is
    except Exception as error:
        print(f"torch: {error}", file=sys.stderr)
        return math.nan


def main():
    if not torch.cuda.is_available():
        sys.exit("torch has no CUDA device here")
    torch.zeros(1, device="cuda")
    if sys.argv[1:2] == ["bench"]:
        print(f"torch {torch.__version__} for CUDA {torch.version.cuda}, its flash attention", flush=True)
    driver = ctypes.CDLL(os.path.join(os.path.dirname(os.path.abspath(__file__)), "build", "libdriver.so", "libdriver.so"))
    args = [each.encode() for each in sys.argv[1:]]
    callbacks = PEER(peer), JUDGE(judge)
    sys.exit(driver.skv_driver(len(args), (ctypes.c_char_p * len(args))(*args), *callbacks))


if __name__ == "__main__":
    main()
