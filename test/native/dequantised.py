"""Writes dequantised.json: random blocks of every weight type, and what the `gguf` package makes of them.

    pip install numpy gguf; python test/native/dequantised.py

Two rows of 512 weights; scales and minima are of both signs, one of them subnormal; every other bit may be anything.
"""
import base64
import json
import os

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

ROWS, COLS = 2, 512
# where a block has numbers in f16
HALVES = {
    'Q4_0': [0], 'Q4_1': [0, 2], 'Q5_0': [0], 'Q5_1': [0, 2], 'Q8_0': [0],
    'Q2_K': [80, 82], 'Q3_K': [108], 'Q4_K': [0, 2], 'Q5_K': [0, 2], 'Q6_K': [208],
    'IQ4_NL': [0], 'IQ4_XS': [0],
}  # fmt: skip
random = np.random.default_rng(18)


def text(array):
    return base64.b64encode(array.tobytes()).decode()


out = {}
for name, halves in HALVES.items():
    kind = GGMLQuantizationType[name]
    elements, size = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (ROWS, COLS // elements, size), dtype=np.uint8)
    for at in halves:
        scales = random.uniform(0.002, 0.02, blocks.shape[:2]) * random.choice([-1, 1], blocks.shape[:2])
        scales[1, -1] = 3e-5
        blocks[:, :, at : at + 2] = scales.astype('<f2')[..., None].view(np.uint8)
    weights = blocks.reshape(ROWS, -1)
    values = dequantize(weights, kind).astype('<f4')
    assert values.shape == (ROWS, COLS)
    out[name] = {'weights': text(weights), 'values': text(values)}

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'dequantised.json')
with open(path, 'w') as file:
    json.dump({'rows': ROWS, 'cols': COLS, 'types': out}, file, indent=1)
    file.write('\n')
