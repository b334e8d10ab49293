/* NVIDIA's driver, asked without a toolkit: what there is, or which call failed. */
#ifndef SKV_DRIVER_H
#define SKV_DRIVER_H
#include <napi.h>

namespace skv {

/* driver(): { call, code, text } of the call that failed, else { version, devices, name, capability, total, free } of
 * the first device. Its types are in index.ts. */
Napi::Value ask_driver(const Napi::CallbackInfo& info);
/* libraryError(name): why a library cannot be opened; undefined where it can. */
Napi::Value library_error(const Napi::CallbackInfo& info);

}  // namespace skv
#endif
