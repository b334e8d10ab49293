/* The parts of skv.node. */
#ifndef SKV_ADDON_H
#define SKV_ADDON_H
#include <napi.h>

#include <string>

namespace skv {

/* An object's number; throws TypeError. */
inline int32_t integer(const Napi::Object& o, const char* key) {
  const Napi::Value v = o.Get(key);
  if (!v.IsNumber()) throw Napi::TypeError::New(o.Env(), std::string(key) + " must be a number");
  return v.As<Napi::Number>().Int32Value();
}

/* Makes the class NativeEngine; before any open_engine. */
void define_engine(Napi::Env env);
/* open(config, progress?): loads on the engine's own thread; a promise of a NativeEngine. */
Napi::Value open_engine(const Napi::CallbackInfo& info);

}  // namespace skv
#endif
