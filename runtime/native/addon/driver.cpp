#include "driver.h"

#include <dlfcn.h>

#include <cstdint>
#include <string>

namespace skv {
namespace {

/* Numbers of the driver's own enumerations. */
constexpr int kMajor = 75, kMinor = 76; /* attributes of a device: its compute capability */
constexpr int kNoSymbol = -1, kNoLibrary = -2;

/* The driver's library; each call throws what failed. */
class Driver {
 public:
  struct Failure {
    std::string call, text;
    int code;
  };

  Driver() : library_(dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)) {
    if (!library_) throw Failure{"dlopen", dlerror(), kNoLibrary};
  }

  template <class... Arguments>
  void call(const char* name, Arguments... arguments) const {
    auto fn = reinterpret_cast<int (*)(Arguments...)>(dlsym(library_, name));
    if (!fn) throw Failure{name, "the driver has no such call", kNoSymbol};
    if (const int code = fn(arguments...)) throw Failure{name, text_of(code), code};
  }

 private:
  std::string text_of(int code) const {
    auto fn = reinterpret_cast<int (*)(int, const char**)>(dlsym(library_, "cuGetErrorString"));
    const char* text = nullptr;
    return fn && fn(code, &text) == 0 && text ? text : "error " + std::to_string(code);
  }

  void* const library_; /* stays open: CUDA's runtime uses it too */
};

}  // namespace

Napi::Value ask_driver(const Napi::CallbackInfo& info) {
  Napi::Object found = Napi::Object::New(info.Env());
  try {
    const Driver driver;
    int version = 0, devices = 0, device = 0, major = 0, minor = 0;
    char name[256] = "";
    size_t free = 0, total = 0;
    void *context = nullptr, *none = nullptr;
    driver.call("cuInit", 0u);
    driver.call("cuDriverGetVersion", &version);
    driver.call("cuDeviceGetCount", &devices);
    found.Set("version", version);
    found.Set("devices", devices);
    if (devices == 0) return found;
    driver.call("cuDeviceGet", &device, 0);
    driver.call("cuDeviceGetName", &name[0], int(sizeof name), device);
    driver.call("cuDeviceGetAttribute", &major, kMajor, device);
    driver.call("cuDeviceGetAttribute", &minor, kMinor, device);
    found.Set("name", std::string(name));
    found.Set("capability", 10 * major + minor);
    driver.call("cuDevicePrimaryCtxRetain", &context, device);
    driver.call("cuCtxSetCurrent", context);
    driver.call("cuMemGetInfo_v2", &free, &total);
    driver.call("cuCtxSetCurrent", none);
    driver.call("cuDevicePrimaryCtxRelease_v2", device);
    found.Set("free", double(free));
    found.Set("total", double(total));
  } catch (const Driver::Failure& failure) {
    found.Set("call", failure.call);
    found.Set("code", failure.code);
    found.Set("text", failure.text);
  }
  return found;
}

Napi::Value library_error(const Napi::CallbackInfo& info) {
  void* library = dlopen(info[0].ToString().Utf8Value().c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (!library) return Napi::String::New(info.Env(), dlerror());
  dlclose(library);
  return info.Env().Undefined();
}

}  // namespace skv
