/* Where the fields of a page lie. Printed from page.ts by `npm run contract`; edit that. */
#ifndef SKV_LAYOUT_H
#define SKV_LAYOUT_H
#include "records.h"

#ifdef __CUDACC__
#define SKV_HOST_AND_DEVICE __host__ __device__
#else
#define SKV_HOST_AND_DEVICE
#endif

/* Bytes of an element of keys and values; 0: there is no such type. */
SKV_HOST_AND_DEVICE constexpr int32_t skv_kv_bytes(int32_t kv_type) {
  return kv_type == SKV_BF16 ? 2 : kv_type == SKV_F32 ? 4 : kv_type == SKV_F16 ? 2 : 0;
}

/* Where each field begins, and how long a page is; in bytes. */
struct skv_page_layout {
  int32_t keys;   /* rotated keys */
  int32_t values; /* values */
  int32_t lanes;  /* [lane][slot]: position, then what the plan lists */
  int32_t bytes;  /* of a page: whole cache lines */
};

/* kv_bytes: skv_kv_bytes of the type of keys and values. Only `bytes` depends on the lanes. */
SKV_HOST_AND_DEVICE constexpr skv_page_layout skv_layout_of(int32_t head_dim, int32_t kv_bytes, int32_t lanes) {
  skv_page_layout at{};
  int32_t end = 0;
  at.keys = end;
  end += SKV_PAGE * head_dim * kv_bytes;
  at.values = end;
  end += SKV_PAGE * head_dim * kv_bytes;
  at.lanes = end;
  end += SKV_PAGE * lanes * 4;
  at.bytes = (end + 63) / 64 * 64;
  return at;
}

#endif
