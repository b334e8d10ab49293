// What the kernels have room for.
#pragma once

constexpr int kMaxDim = 256;    // head_dim, a multiple of 16
constexpr int kMostHeads = 64;  // KV heads that can decide together
