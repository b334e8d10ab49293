/* The engine as JavaScript sees it: one native thread, arrays that both sides share, promises. */
#include <dlfcn.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "addon.h"
#include "backend.h"
#include "fields.h"

namespace skv {
namespace {

using Napi::Array;
using Napi::CallbackInfo;
using Napi::Error;
using Napi::Number;
using Napi::Object;
using Napi::Value;

/* The engine's thread: worker 0 of its backend. Jobs run in the order they were posted; the last ones run before it
 * ends. */
class Runner {
 public:
  Runner() : thread_([this] { loop(); }) {}
  ~Runner() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  void post(std::function<void()> job) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    wake_.notify_one();
  }

 private:
  void loop() {
    for (;;) {
      std::function<void()> job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
        if (jobs_.empty()) return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job();
    }
  }
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stop_ = false;
  std::thread thread_;
};

/* skv_config, and the memory that its pointers point into. */
struct Config {
  skv_config values{};
  std::vector<std::string> files, policies;
  std::vector<const char*> file_names, policy_names;
  std::vector<skv_tensor> tensors;
  std::vector<float> inv_freq;
  std::vector<int32_t> cpus;
};

/* An engine of a backend; lives as long as the JavaScript object, the arrays handed out and the jobs under way. */
struct OpenEngine {
  const skv_backend* backend = nullptr;
  skv_engine* engine = nullptr;
  skv_buffers buffers{};
  Config config;
  std::string backend_path, error;
  bool busy = false;
  Napi::ThreadSafeFunction settle; /* steps report through it; it holds the event loop only while one runs */
  Runner runner;

  void close() {
    if (settle) settle.Release();
    settle = Napi::ThreadSafeFunction();
    if (engine) backend->close(engine);
    engine = nullptr;
  }
  ~OpenEngine() { close(); }
};

int32_t role_named(const Value& name) {
  const std::string text = name.ToString();
  for (int32_t role = 0; role < SKV_T_COUNT; role++)
    if (text == skv_role_name(role)) return role;
  throw Error::New(name.Env(), "there is no role " + text + " of tensors");
}

std::vector<std::string> read_strings(const Object& from, const char* key) {
  const Array array = from.Get(key).As<Array>();
  std::vector<std::string> out;
  for (uint32_t i = 0; i < array.Length(); i++) out.push_back(array.Get(i).ToString());
  return out;
}

/* The strings' addresses; they must not move any more. */
std::vector<const char*> pointers(const std::vector<std::string>& strings) {
  std::vector<const char*> out;
  for (const std::string& each : strings) out.push_back(each.c_str());
  return out;
}

void read_model(const Object& from, Config& to) {
  const auto freq = from.Get("invFreq").As<Napi::Float32Array>();
  to.inv_freq.assign(freq.Data(), freq.Data() + freq.ElementLength());
  const Array tensors = from.Get("tensors").As<Array>();
  for (uint32_t i = 0; i < tensors.Length(); i++) {
    const Object each = tensors.Get(i).As<Object>();
    skv_tensor tensor{};
    read_numbers(each, tensor);
    tensor.role = role_named(each.Get("role"));
    to.tensors.push_back(tensor);
  }
  to.files = read_strings(from, "files");
  to.file_names = pointers(to.files);

  skv_model& model = to.values.model;
  read_numbers(from, model);
  model.inv_freq = to.inv_freq.data();
  model.tensors = int32_t(to.tensors.size());
  model.tensor = to.tensors.data();
  model.files = int32_t(to.file_names.size());
  model.file = to.file_names.data();
  if (model.kv_heads < 1 || model.heads % model.kv_heads || model.head_dim < 2 ||
      int(to.inv_freq.size()) != model.head_dim / 2)
    throw Error::New(from.Env(), "the model's heads, KV heads, head size and RoPE frequencies do not fit together");
}

void read_config(const Object& from, Config& to) {
  read_model(from.Get("model").As<Object>(), to);
  to.policies = read_strings(from, "policies");
  to.policy_names = pointers(to.policies);
  const Array cpus = from.Get("cpus").As<Array>();
  for (uint32_t i = 0; i < cpus.Length(); i++) to.cpus.push_back(cpus.Get(i).ToNumber());

  skv_config& c = to.values;
  c.abi_version = SKV_BACKEND_VERSION;
  c.size = sizeof(skv_config);
  read_numbers(from, c);
  c.policies = int32_t(to.policy_names.size());
  c.policy = to.policy_names.data();
  c.cpu = to.cpus.empty() ? nullptr : to.cpus.data();
  if (c.cpu && int(to.cpus.size()) < c.threads) throw Error::New(from.Env(), "fewer processors than threads to pin");
  if (c.pages < 2 || c.table_stride < 1 || c.max_seqs < 1 || c.max_rows < 1 || c.max_tokens < 1 || c.max_copies < 0 ||
      c.threads < 1)
    throw Error::New(from.Env(), "pages, tableStride, maxSeqs, maxRows, maxTokens and threads must be positive");
}

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
    open_->settle = Napi::ThreadSafeFunction::New(Env(), Napi::Function(), "skv step", 0, 1);
    open_->settle.Unref(Env());
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
    auto* keep =
        new std::shared_ptr<OpenEngine>(open_); /* dropped on the event loop: the runner must not destroy itself */
    OpenEngine* open = open_.get();
    open->settle.Ref(env);
    open->runner.post([open, keep, deferred, counts] {
      char error[1024] = "";
      const bool failed = open->backend->step(open->engine, &counts, error, sizeof error) != 0;
      const std::string message = error;
      open->settle.BlockingCall([open, keep, deferred, failed, message](Napi::Env env, Napi::Function) {
        open->busy = false;
        open->settle.Unref(env);
        if (failed)
          deferred.Reject(Error::New(env, message).Value());
        else
          deferred.Resolve(env.Undefined());
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
  auto owner = std::make_shared<OpenEngine>();
  const Object options = info[0].As<Object>();
  read_config(options, owner->config);
  owner->backend_path = options.Get("backend").ToString();
  auto* keep =
      new std::shared_ptr<OpenEngine>(owner); /* dropped on the event loop: the runner must not destroy itself */
  OpenEngine* open = owner.get();
  auto deferred = Napi::Promise::Deferred::New(env);
  const Napi::Function progress =
      info[1].IsFunction() ? info[1].As<Napi::Function>() : Napi::Function::New(env, [](const CallbackInfo&) {});
  auto settle =
      std::make_shared<Napi::ThreadSafeFunction>(Napi::ThreadSafeFunction::New(env, progress, "skv open", 0, 1));
  open->runner.post([open, keep, deferred, settle] {
    auto report = [](void* arg, float done) {
      static_cast<Napi::ThreadSafeFunction*>(arg)->BlockingCall(
          [done](Napi::Env env, Napi::Function f) { f.Call({Number::New(env, done)}); });
    };
    try {
      char error[2048] = "";
      open->backend = open_backend(open->backend_path);
      open->engine =
          open->backend->open(&open->config.values, &open->buffers, report, settle.get(), error, sizeof error);
      open->error = error;
    } catch (const std::exception& e) {
      open->error = e.what();
    }
    settle->BlockingCall([open, keep, deferred](Napi::Env env, Napi::Function) {
      if (open->engine) {
        Object o = NativeEngine::constructor.New({});
        NativeEngine::Unwrap(o)->attach(*keep);
        deferred.Resolve(o);
      } else {
        deferred.Reject(Error::New(env, open->error).Value());
      }
      delete keep;
    });
    settle->Release();
  });
  return deferred.Promise();
}

}  // namespace skv
