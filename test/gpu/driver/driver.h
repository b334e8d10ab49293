// What the driver does, one function a command (main.cpp); torch_peer.py calls them as a library, with torch as the
// peer.
#pragma once
#include "harness.h"

// Microseconds that somebody else takes for the same work, once; NaN when it has none.
//   what   decode (batch sequences of `context` slots, one query each), prefill (one causal prompt of `context`
//   tokens),
//          matmul (bf16, batch³)
using Peer = double (*)(const char* what, int batch, int context, int kv_heads, int group, int head_dim);

// Largest difference from somebody else's causal attention of the last `queries` of `tokens`: q and out
// [query][query head][dim], lse [query][query head], k and v [token][KV head][dim]; NaN when it cannot tell.
using Judge = double (*)(int queries, int tokens, int kv_heads, int group, int head_dim, const float* q, const float* k,
                         const float* v, const float* out, const float* lse);

// Prints a line a vector; returns how many failed.
int check_vectors(const std::string& library, const std::vector<std::string>& paths);

// Prompts and generated tokens larger than the vectors, against the judge, or plain loops for the last queries where
// there is none. Returns how many failed. `tiny` tries the program.
int check_attention(const std::string& library, bool tiny, Judge judge);

// Prints the table as Markdown, writes JSON where a path is given. `folder`/<policy>/policy.so. Returns 0 when all was
// measured. `tiny` tries the program, and its numbers say nothing.
int bench_kernels(const std::string& folder, const std::string& json_path, bool tiny, Peer peer);
