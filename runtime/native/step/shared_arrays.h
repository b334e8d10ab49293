/* The arrays that TypeScript and a backend share, in one block of the backend's memory; each starts on a cache line. */
#ifndef SKV_SHARED_ARRAYS_H
#define SKV_SHARED_ARRAYS_H
#include <cstddef>
#include <cstdint>

#include "backend.h"

namespace skv {

size_t shared_bytes(const skv_config& config);
/* Where each lies in a block of so many bytes. */
skv_buffers shared_arrays(const skv_config& config, uint8_t* block);

}  // namespace skv
#endif
