/* NVIDIA's driver as the addon asks it, on no device: what a test wishes (wishes.hpp). */
#include <cstddef>
#include <cstdio>

#include "wishes.hpp"

using emulate::failing;
using emulate::wish;

extern "C" {

int cuInit(unsigned) { return failing("cuInit"); }
int cuDriverGetVersion(int* version) {
  *version = int(wish("SKV_EMULATED_DRIVER", 13000));
  return failing("cuDriverGetVersion");
}
int cuDeviceGetCount(int* devices) {
  *devices = int(wish("SKV_EMULATED_DEVICES", 1));
  return failing("cuDeviceGetCount");
}
int cuDeviceGet(int* device, int i) {
  *device = i;
  return failing("cuDeviceGet");
}
int cuDeviceGetName(char* name, int bytes, int) {
  snprintf(name, size_t(bytes), "Emulated");
  return failing("cuDeviceGetName");
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
  const int arch = int(wish("SKV_EMULATED_ARCH", 90));
  *value = attribute == 75 ? arch / 10 : arch % 10;
  return failing("cuDeviceGetAttribute");
}
int cuDevicePrimaryCtxRetain(void** context, int) {
  *context = nullptr;
  return failing("cuDevicePrimaryCtxRetain");
}
int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
int cuCtxSetCurrent(void*) { return 0; }
int cuMemGetInfo_v2(size_t* free, size_t* total) {
  *free = *total = size_t(wish("SKV_EMULATED_MEMORY", 256 << 20));
  return failing("cuMemGetInfo");
}
int cuGetErrorString(int code, const char** text) {
  *text = emulate::words_of(code);
  return 0;
}
}
