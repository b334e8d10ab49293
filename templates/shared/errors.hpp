// The codes of abi.h in words.
#pragma once
#include "abi.h"

static inline const char* error_text(int32_t code) {
  switch (code) {
    case 0:
      return "no error";
    case SKV_E_SHAPE:
      return "the library holds no kernel for this head size, group, or type of keys and values (on CUDA: build it "
             "with "
             "--head-dim and --kv)";
    case SKV_E_HEADS:
      return "more KV heads than can decide together";
    default:
      return "an unknown code";
  }
}
