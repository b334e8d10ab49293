/* The parts of skv.node. */
#ifndef SKV_ADDON_H
#define SKV_ADDON_H
#include <napi.h>

#include <string>

#include "fields.h"

namespace skv {

/* An object's number, or boolean as 0 or 1; throws TypeError. */
template <class T>
void read_number(const Napi::Object& from, const char* name, T& to) {
  const Napi::Value value = from.Get(name);
  if (value.IsBoolean()) {
    to = T(value.ToBoolean());
    return;
  }
  if (!value.IsNumber()) throw Napi::TypeError::New(from.Env(), std::string(name) + " must be a number");
  to = value.As<Napi::Number>();
}

/* Every number of a record of the contract that TypeScript gives. */
template <class Record>
void read_numbers(const Napi::Object& from, Record& to) {
  each_number(to, [&](const char* name, auto& field) { read_number(from, name, field); });
}

/* Makes the class NativeEngine; before any open_engine. */
void define_engine(Napi::Env env);
/* open(config, progress?): loads on the engine's own thread; a promise of a NativeEngine. */
Napi::Value open_engine(const Napi::CallbackInfo& info);

}  // namespace skv
#endif
