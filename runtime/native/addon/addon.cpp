/* skv.node: hands typed arrays and promises to TypeScript and everything else to a backend. Its types are in index.ts.
 * Here is what needs no engine: policy libraries, and single products for tests. */
#include "addon.h"

#include <dlfcn.h>

#include <string>

#include "crash.h"
#include "driver.h"
#include "policy.h"

namespace {

using Napi::Array;
using Napi::CallbackInfo;
using Napi::Error;
using Napi::Object;
using Napi::Value;

const skv_policy* policy_at(const CallbackInfo& info, const char* target) {
  try {
    return skv::open_policy(info[0].ToString().Utf8Value(), target);
  } catch (const std::exception& e) {
    throw Error::New(info.Env(), e.what());
  }
}

Value policy_info(const CallbackInfo& info) {
  const skv_policy* p = policy_at(info, "");
  Object o = Object::New(info.Env());
  o.Set("name", p->name);
  o.Set("hash", p->hash);
  o.Set("target", p->target);
  o.Set("lanes", p->lanes);
  o.Set("states", p->states);
  return o;
}

float* floats(const Object& o, const char* key, size_t least) {
  const Value v = o.Get(key);
  if (v.IsUndefined() || v.IsNull()) return nullptr;
  auto array = v.As<Napi::Float32Array>();
  if (array.ElementLength() < least) throw Error::New(o.Env(), std::string(key) + " is too short");
  return array.Data();
}

template <int32_t (*skv_policy::*Probe)(const skv_probe*)>
Value probe(const CallbackInfo& info) {
  const skv_policy* policy = policy_at(info, "cpu");
  const Object o = info[1].As<Object>();
  skv_probe p{};
  p.abi_version = SKV_ABI_VERSION;
  p.size = sizeof p;
  skv::read_numbers(o, p);
  const size_t n = size_t(p.slots), vectors = n * size_t(p.head_dim);
  p.params = floats(o, "params", SKV_MAX_PARAMS);
  p.pos = floats(o, "pos", n);
  p.seen = floats(o, "seen", n);
  p.attn = floats(o, "attn", n);
  p.keys = floats(o, "keys", vectors);
  p.values = floats(o, "values", vectors);
  p.states = floats(o, "states", n * size_t(policy->states));
  p.scores = floats(o, "scores", n);
  if (o.Get("classes").IsTypedArray()) p.classes = o.Get("classes").As<Napi::Int32Array>().Data();
  if (const int32_t code = (policy->*Probe)(&p))
    throw Error::New(info.Env(), std::string("the probe failed: ") + policy->error(code));
  return info.Env().Undefined();
}

/* A function of the CPU backend whose path is the first argument. Throws where it has none of the name. */
template <class Fn>
Fn cpu_function(const CallbackInfo& info, const char* name) {
  void* handle = dlopen(info[0].ToString().Utf8Value().c_str(), RTLD_NOW | RTLD_LOCAL);
  auto fn = handle ? reinterpret_cast<Fn>(dlsym(handle, name)) : nullptr;
  if (!fn) throw Error::New(info.Env(), "not a CPU backend");
  return fn;
}

Value test_matmul(const CallbackInfo& info) {
  using Fn =
      const char* (*)(const char*, int32_t, int32_t, int32_t, const uint8_t*, int32_t, const float*, float*, int32_t);
  const auto fn = cpu_function<Fn>(info, "skv_test_matmul");
  const int32_t rows = info[3].ToNumber(), cols = info[4].ToNumber(), tokens = info[6].ToNumber();
  auto out = Napi::Float32Array::New(info.Env(), size_t(rows) * tokens);
  const char* error =
      fn(info[1].ToString().Utf8Value().c_str(), info[2].ToNumber(), rows, cols, info[5].As<Napi::Uint8Array>().Data(),
         tokens, info[7].As<Napi::Float32Array>().Data(), out.Data(), info[8].ToBoolean());
  if (error) throw Error::New(info.Env(), error);
  return out;
}

Value test_unpack(const CallbackInfo& info) {
  using Fn = const char* (*)(int32_t, int32_t, int32_t, const uint8_t*, float*);
  const auto fn = cpu_function<Fn>(info, "skv_test_unpack");
  const int32_t rows = info[2].ToNumber(), cols = info[3].ToNumber();
  auto out = Napi::Float32Array::New(info.Env(), size_t(rows) * cols);
  const char* error = fn(info[1].ToNumber(), rows, cols, info[4].As<Napi::Uint8Array>().Data(), out.Data());
  if (error) throw Error::New(info.Env(), error);
  return out;
}

Value isas(const CallbackInfo& info) {
  using Fn = const char* (*)(int32_t);
  const auto fn = cpu_function<Fn>(info, "skv_isa_name");
  Array names = Array::New(info.Env());
  for (int32_t i = 0; const char* name = fn(i); i++) names.Set(uint32_t(i), name);
  return names;
}

Value amx_refused(const CallbackInfo& info) {
  using Fn = const char* (*)();
  const auto fn = cpu_function<Fn>(info, "skv_amx_refused");
  const char* why = fn();
  return why ? Value(Napi::String::New(info.Env(), why)) : info.Env().Undefined();
}

Object init(Napi::Env env, Object exports) {
  skv::install_crash_handler();
  skv::define_engine(env);
  exports.Set("version", double(SKV_BACKEND_VERSION));
  exports.Set("open", Napi::Function::New(env, skv::open_engine));
  exports.Set("policyInfo", Napi::Function::New(env, policy_info));
  exports.Set("probeNext", Napi::Function::New(env, probe<&skv_policy::probe_next>));
  exports.Set("probeScore", Napi::Function::New(env, probe<&skv_policy::probe_score>));
  exports.Set("testMatmul", Napi::Function::New(env, test_matmul));
  exports.Set("testUnpack", Napi::Function::New(env, test_unpack));
  exports.Set("driver", Napi::Function::New(env, skv::ask_driver));
  exports.Set("libraryError", Napi::Function::New(env, skv::library_error));
  exports.Set("isas", Napi::Function::New(env, isas));
  exports.Set("amxRefused", Napi::Function::New(env, amx_refused));
  return exports;
}

}  // namespace

NODE_API_MODULE(skv, init)
