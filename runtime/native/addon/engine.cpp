/* The engine as JavaScript sees it: one native thread, arrays that both sides share, promises. */
#include <dlfcn.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "addon.h"
#include "backend.h"
#include "config.h"
#include "fields.h"
#include "runner.h"

namespace skv {
namespace {

using Napi::CallbackInfo;
using Napi::Error;
using Napi::Number;
using Napi::Object;
using Napi::Value;

/* An engine of a backend; lives as long as the JavaScript object, the arrays handed out and the jobs under way. When
 * the process or the thread of JavaScript ends before them, its hook closes it: later there is nothing left to report
 * to. */
struct OpenEngine {
  const skv_backend* backend = nullptr;
  skv_engine* engine = nullptr;
  skv_buffers buffers{};
  Config config;
  std::string backend_path, error;
  bool busy = false;
  Napi::ThreadSafeFunction settle; /* jobs report through it; it holds the event loop only while one runs */
  Napi::Env env;
  Napi::Env::CleanupHook<void (*)(OpenEngine*), OpenEngine> hook;
  bool ended = false; /* the hook has run */
  Runner runner;

  /* progress: called with the part that is loaded. */
  OpenEngine(Napi::Env env, Napi::Function progress)
      : settle(Napi::ThreadSafeFunction::New(env, progress, "skv engine", 0, 1)),
        env(env),
        hook(env.AddCleanupHook(at_end, this)) {} /* before settle's own: the last one to come is the first to run */
  ~OpenEngine() {
    close();
    if (!ended) hook.Remove(env);
  }
  /* Waits for the job under way. */
  void close() {
    runner.stop();
    if (settle) settle.Release();
    settle = Napi::ThreadSafeFunction();
    if (engine) backend->close(engine);
    engine = nullptr;
  }
  static void at_end(OpenEngine* open) {
    open->ended = true;
    open->close();
  }
};

/* Opens the backend library. Throws std::runtime_error. */
const skv_backend* open_backend(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) throw std::runtime_error(dlerror());
  auto entry = reinterpret_cast<skv_backend_entry_fn>(dlsym(handle, SKV_BACKEND_ENTRY));
  const skv_backend* backend = entry ? entry() : nullptr;
  if (!backend) throw std::runtime_error(path + " is no backend: it has no " SKV_BACKEND_ENTRY);
  if (backend->abi_version != SKV_BACKEND_VERSION || backend->size != sizeof(skv_backend))
    throw std::runtime_error(path + " was built with another version of skv: delete it, and it is built again");
  return backend;
}

/* The class NativeEngine of JavaScript. */
class NativeEngine : public Napi::ObjectWrap<NativeEngine> {
 public:
  static Napi::FunctionReference constructor;

  static void define(Napi::Env env) {
    Napi::Function f = DefineClass(
        env, "NativeEngine",
        {InstanceMethod("step", &NativeEngine::step), InstanceMethod("addPolicy", &NativeEngine::add_policy),
         InstanceMethod("readLane", &NativeEngine::read_lane), InstanceMethod("logits", &NativeEngine::logits),
         InstanceMethod("describe", &NativeEngine::describe), InstanceMethod("close", &NativeEngine::close)});
    constructor = Napi::Persistent(f);
    constructor.SuppressDestruct();
  }

  explicit NativeEngine(const CallbackInfo& info) : Napi::ObjectWrap<NativeEngine>(info) {}

  void attach(std::shared_ptr<OpenEngine> open) {
    open_ = std::move(open);
    Object buffers = Object::New(Env());
    each_array(open_->config.values, open_->buffers,
               [&](const char* name, auto* array, size_t n) { buffers.Set(name, view(array, n)); });
    Value().Set("buffers", buffers);
  }

 private:
  template <class T>
  Napi::ArrayBuffer share(T* array, size_t n) {
    auto* keep = new std::shared_ptr<OpenEngine>(open_); /* arrays keep the engine's memory alive until close() */
    auto buffer = Napi::ArrayBuffer::New(
        Env(), array, n * sizeof(T), [](Napi::Env, void*, std::shared_ptr<OpenEngine>* kept) { delete kept; }, keep);
    memory_.push_back(Napi::Reference<Napi::ArrayBuffer>::New(buffer, 1));
    return buffer;
  }

  Napi::Value view(float* array, size_t n) { return Napi::Float32Array::New(Env(), n, share(array, n), 0); }
  /* Numbers, or records as their 32-bit words. */
  template <class T>
  Napi::Value view(T* array, size_t n) {
    return Napi::Int32Array::New(Env(), n * sizeof(T) / 4, share(array, n), 0);
  }

  OpenEngine& idle(Napi::Env env) {
    if (!open_ || !open_->engine) throw Error::New(env, "the engine is closed");
    if (open_->busy) throw Error::New(env, "a step is running");
    return *open_;
  }

  Napi::Value step(const CallbackInfo& info) {
    Napi::Env env = info.Env();
    auto deferred = Napi::Promise::Deferred::New(env);
    try {
      idle(env);
    } catch (const Error& e) {
      deferred.Reject(e.Value());
      return deferred.Promise();
    }
    skv_step_counts counts{};
    read_numbers(info[0].As<Object>(), counts);
    open_->busy = true;
    /* dropped on the event loop: the runner must not destroy itself */
    auto* keep = new std::shared_ptr<OpenEngine>(open_);
    OpenEngine* open = open_.get();
    open->settle.Ref(env);
    open->runner.post([open, keep, deferred, counts] {
      char error[1024] = "";
      const int32_t ended = open->backend->step(open->engine, &counts, error, sizeof error);
      const std::string message = error;
      open->settle.BlockingCall([open, keep, deferred, ended, message](Napi::Env env, Napi::Function) {
        open->busy = false;
        open->settle.Unref(env);
        if (ended == SKV_STEP_DONE) {
          deferred.Resolve(env.Undefined());
        } else {
          const Error error = Error::New(env, message);
          error.Value().Set("lost", Napi::Boolean::New(env, ended == SKV_STEP_LOST));
          deferred.Reject(error.Value());
        }
        delete keep;
      });
    });
    return deferred.Promise();
  }

  Napi::Value add_policy(const CallbackInfo& info) {
    OpenEngine& open = idle(info.Env());
    char error[1024] = "";
    const int32_t index =
        open.backend->add_policy(open.engine, info[0].ToString().Utf8Value().c_str(), error, sizeof error);
    if (index < 0) throw Error::New(info.Env(), error);
    return Number::New(info.Env(), index);
  }

  Napi::Value read_lane(const CallbackInfo& info) {
    OpenEngine& open = idle(info.Env());
    std::vector<int32_t> out(size_t(open.config.values.table_stride) * SKV_PAGE);
    const int32_t n = open.backend->read_lane(open.engine, info[0].ToNumber(), info[1].ToNumber(), info[2].ToNumber(),
                                              info[3].ToNumber(), out.data());
    if (n < 0) throw Error::New(info.Env(), "no such sequence, layer, head or lane");
    auto array = Napi::Int32Array::New(info.Env(), size_t(n));
    std::copy(out.begin(), out.begin() + n, array.Data());
    return array;
  }

  Napi::Value logits(const CallbackInfo& info) {
    OpenEngine& open = idle(info.Env());
    const float* from = open.backend->logits(open.engine, info[0].ToNumber());
    if (!from) throw Error::New(info.Env(), "the last step kept no logits for this draw");
    auto array = Napi::Float32Array::New(info.Env(), size_t(open.config.values.model.vocab));
    std::copy(from, from + open.config.values.model.vocab, array.Data());
    return array;
  }

  Napi::Value describe(const CallbackInfo& info) {
    OpenEngine& open = idle(info.Env());
    char json[1024];
    open.backend->describe(open.engine, json, sizeof json);
    return info.Env().Global().Get("JSON").As<Object>().Get("parse").As<Napi::Function>().Call(
        {Napi::String::New(info.Env(), json)});
  }

  /* Frees the engine at once; arrays that were handed out are detached and have length 0 from then on. */
  Napi::Value close(const CallbackInfo& info) {
    if (!open_) return info.Env().Undefined();
    if (open_->busy) throw Error::New(info.Env(), "a step is running");
    for (auto& buffer : memory_) buffer.Value().Detach();
    memory_.clear();
    open_->close();
    open_.reset();
    return info.Env().Undefined();
  }

  std::shared_ptr<OpenEngine> open_;
  std::vector<Napi::Reference<Napi::ArrayBuffer>> memory_;
};

Napi::FunctionReference NativeEngine::constructor;

}  // namespace

void define_engine(Napi::Env env) { NativeEngine::define(env); }

Napi::Value open_engine(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const Napi::Function progress =
      info[1].IsFunction() ? info[1].As<Napi::Function>() : Napi::Function::New(env, [](const CallbackInfo&) {});
  auto owner = std::make_shared<OpenEngine>(env, progress);
  const Object options = info[0].As<Object>();
  read_config(options, owner->config);
  owner->backend_path = options.Get("backend").ToString();
  /* dropped on the event loop: the runner must not destroy itself */
  auto* keep = new std::shared_ptr<OpenEngine>(owner);
  OpenEngine* open = owner.get();
  auto deferred = Napi::Promise::Deferred::New(env);
  open->runner.post([open, keep, deferred] {
    auto report = [](void* arg, float done) {
      static_cast<Napi::ThreadSafeFunction*>(arg)->BlockingCall(
          [done](Napi::Env env, Napi::Function f) { f.Call({Number::New(env, done)}); });
    };
    try {
      char error[2048] = "";
      open->backend = open_backend(open->backend_path);
      open->engine =
          open->backend->open(&open->config.values, &open->buffers, report, &open->settle, error, sizeof error);
      open->error = error;
    } catch (const std::exception& e) {
      open->error = e.what();
    }
    open->settle.BlockingCall([open, keep, deferred](Napi::Env env, Napi::Function) {
      open->settle.Unref(env);
      if (open->engine) {
        Object o = NativeEngine::constructor.New({});
        NativeEngine::Unwrap(o)->attach(*keep);
        deferred.Resolve(o);
      } else {
        deferred.Reject(Error::New(env, open->error).Value());
      }
      delete keep;
    });
  });
  return deferred.Promise();
}

}  // namespace skv
