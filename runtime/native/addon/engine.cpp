/* The engine as JavaScript sees it: one native thread, arrays that both sides share, promises. */
#include <dlfcn.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "addon.h"
#include "backend.h"

namespace skv {
namespace {

using Napi::Array;
using Napi::CallbackInfo;
using Napi::Error;
using Napi::Number;
using Napi::Object;
using Napi::Value;

/* The engine's thread: worker 0 of its backend. Jobs run in order; each settles a promise on the event loop. */
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
      job_ = std::move(job);
    }
    wake_.notify_one();
  }

 private:
  void loop() {
    for (;;) {
      std::function<void()> job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [this] { return stop_ || job_; });
        if (!job_) return;
        job = std::move(job_);
        job_ = nullptr;
      }
      job();
    }
  }
  std::mutex mutex_;
  std::condition_variable wake_;
  std::function<void()> job_;
  bool stop_ = false;
  std::thread thread_;
};

/* What one engine holds; kept alive by the JavaScript object and by jobs under way. */
struct Held {
  const skv_backend* backend = nullptr;
  skv_engine* engine = nullptr;
  skv_buffers buffers{};
  skv_config config{};
  std::vector<std::string> strings;
  std::vector<const char*> files, policies;
  std::vector<skv_tensor> tensors;
  std::vector<float> inv_freq;
  std::vector<int32_t> cpus;
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
  ~Held() { close(); }
};

std::string text(const Object& o, const char* key) { return o.Get(key).ToString().Utf8Value(); }

void read_config(const Object& o, Held& h) {
  const Object m = o.Get("model").As<Object>();
  const auto freq = m.Get("invFreq").As<Napi::Float32Array>();
  h.inv_freq.assign(freq.Data(), freq.Data() + freq.ElementLength());
  skv_model& model = h.config.model;
  model.layers = integer(m, "layers"), model.width = integer(m, "width"), model.heads = integer(m, "heads");
  model.kv_heads = integer(m, "kvHeads"), model.head_dim = integer(m, "headDim"), model.ffn = integer(m, "ffn");
  model.vocab = integer(m, "vocab"), model.rope_interleaved = m.Get("ropeInterleaved").ToBoolean();
  model.norm_eps = m.Get("normEps").ToNumber().FloatValue();
  if (model.kv_heads < 1 || model.heads % model.kv_heads || model.head_dim < 2 ||
      int(h.inv_freq.size()) != model.head_dim / 2)
    throw Error::New(o.Env(), "the model's heads, KV heads, head size and RoPE frequencies do not fit together");
  const Array tensors = m.Get("tensors").As<Array>();
  static const char* const roles[] = {"embed", "outputNorm", "output",  "attnNorm", "q",  "k",
                                      "v",     "o",          "ffnNorm", "gate",     "up", "down"};
  for (uint32_t i = 0; i < tensors.Length(); i++) {
    const Object t = tensors.Get(i).As<Object>();
    const std::string role = text(t, "role");
    int number = -1;
    for (int r = 0; r < SKV_T_COUNT; r++)
      if (role == roles[r]) number = r;
    h.tensors.push_back({number, integer(t, "layer"), integer(t, "type"), integer(t, "rows"), integer(t, "cols"),
                         integer(t, "file"), t.Get("offset").ToNumber().Int64Value(),
                         t.Get("bytes").ToNumber().Int64Value()});
  }
  const Array files = m.Get("files").As<Array>(), policies = o.Get("policies").As<Array>(),
              cpus = o.Get("cpus").As<Array>();
  h.strings.reserve(files.Length() + policies.Length());
  for (uint32_t i = 0; i < files.Length(); i++)
    h.files.push_back(h.strings.emplace_back(files.Get(i).ToString()).c_str());
  for (uint32_t i = 0; i < policies.Length(); i++)
    h.policies.push_back(h.strings.emplace_back(policies.Get(i).ToString()).c_str());
  for (uint32_t i = 0; i < cpus.Length(); i++) h.cpus.push_back(cpus.Get(i).ToNumber().Int32Value());
  model.inv_freq = h.inv_freq.data();
  model.tensors = int32_t(h.tensors.size()), model.tensor = h.tensors.data();
  model.files = int32_t(h.files.size()), model.file = h.files.data();
  skv_config& c = h.config;
  c.abi_version = SKV_ABI_VERSION, c.size = sizeof(skv_config);
  c.kv_type = integer(o, "kvType"), c.pages = integer(o, "pages"), c.table_stride = integer(o, "tableStride");
  c.max_seqs = integer(o, "maxSeqs"), c.max_rows = integer(o, "maxRows"), c.max_tokens = integer(o, "maxTokens");
  c.max_copies = integer(o, "maxCopies"), c.threads = integer(o, "threads");
  c.policies = int32_t(h.policies.size()), c.policy = h.policies.data();
  c.cpu = h.cpus.empty() ? nullptr : h.cpus.data();
  if (!h.cpus.empty() && int(h.cpus.size()) < c.threads)
    throw Error::New(o.Env(), "fewer processors than threads to pin");
  if (c.pages < 2 || c.table_stride < 1 || c.max_seqs < 1 || c.max_rows < 1 || c.max_tokens < 1 || c.max_copies < 0 ||
      c.threads < 1)
    throw Error::New(o.Env(), "pages, tableStride, maxSeqs, maxRows, maxTokens and threads must be positive");
  h.backend_path = text(o, "backend");
}

/* Opens the backend library; false with h.error. */
bool open_backend(Held& h) {
  void* handle = dlopen(h.backend_path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) return h.error = dlerror(), false;
  auto entry = reinterpret_cast<skv_backend_entry_fn>(dlsym(handle, SKV_BACKEND_ENTRY));
  h.backend = entry ? entry() : nullptr;
  if (!h.backend || h.backend->abi_version != SKV_ABI_VERSION || h.backend->size != sizeof(skv_backend))
    return h.error = h.backend_path + " is not a backend of this version", false;
  return true;
}

class Engine : public Napi::ObjectWrap<Engine> {
 public:
  static Napi::FunctionReference constructor;

  static void define(Napi::Env env) {
    Napi::Function f =
        DefineClass(env, "NativeEngine",
                    {InstanceMethod("step", &Engine::step), InstanceMethod("addPolicy", &Engine::add_policy),
                     InstanceMethod("readLane", &Engine::read_lane), InstanceMethod("logits", &Engine::logits),
                     InstanceMethod("describe", &Engine::describe), InstanceMethod("close", &Engine::close)});
    constructor = Napi::Persistent(f);
    constructor.SuppressDestruct();
  }

  explicit Engine(const CallbackInfo& info) : Napi::ObjectWrap<Engine>(info) {}

  void attach(std::shared_ptr<Held> held) {
    held_ = std::move(held);
    held_->settle = Napi::ThreadSafeFunction::New(Env(), Napi::Function(), "skv step", 0, 1);
    held_->settle.Unref(Env());
    const skv_buffers& b = held_->buffers;
    const skv_config& c = held_->config;
    const size_t tables = size_t(c.max_seqs) * c.model.layers * c.model.kv_heads;
    Object o = Object::New(Env());
    view(o, "token", b.token, c.max_tokens);
    view(o, "position", b.position, c.max_tokens);
    view(o, "classes", b.classes, c.max_tokens);
    view(o, "row", reinterpret_cast<int32_t*>(b.row), c.max_rows * sizeof(skv_row) / 4);
    view(o, "table", b.table, tables * c.table_stride);
    view(o, "length", b.length, tables);
    view(o, "budget", b.budget, size_t(c.max_seqs) * c.model.layers);
    view(o, "param", b.param, size_t(c.max_seqs) * SKV_MAX_PARAMS);
    both(o, "sampler", b.sampler, c.max_tokens);
    both(o, "sampled", b.sampled, c.max_tokens);
    view(o, "history", b.history, b.history_capacity);
    view(o, "biasToken", b.bias_token, b.bias_capacity);
    view(o, "biasValue", b.bias_value, b.bias_capacity);
    view(o, "copy", b.copy, size_t(c.max_copies) * 2);
    Value().Set("buffers", o);
  }

 private:
  template <class T>
  Napi::ArrayBuffer share(T* data, size_t bytes) {
    auto* keep = new std::shared_ptr<Held>(held_); /* arrays keep the engine's memory alive until close() */
    auto buffer = Napi::ArrayBuffer::New(
        Env(), data, bytes, [](Napi::Env, void*, std::shared_ptr<Held>* kept) { delete kept; }, keep);
    memory_.push_back(Napi::Reference<Napi::ArrayBuffer>::New(buffer, 1));
    return buffer;
  }

  void view(Object& to, const char* name, int32_t* data, size_t n) {
    to.Set(name, Napi::Int32Array::New(Env(), n, share(data, n * 4), 0));
  }
  void view(Object& to, const char* name, float* data, size_t n) {
    to.Set(name, Napi::Float32Array::New(Env(), n, share(data, n * 4), 0));
  }

  /* Both views of records that mix i32 and f32 words. */
  template <class T>
  void both(Object& to, const char* name, T* data, size_t records) {
    const size_t n = records * sizeof(T) / 4;
    auto buffer = share(data, n * 4);
    to.Set(name, Napi::Int32Array::New(Env(), n, buffer, 0));
    to.Set(std::string(name) + "F", Napi::Float32Array::New(Env(), n, buffer, 0));
  }

  Held& idle(Napi::Env env) {
    if (!held_ || !held_->engine) throw Error::New(env, "the engine is closed");
    if (held_->busy) throw Error::New(env, "a step is running");
    return *held_;
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
    const Object o = info[0].As<Object>();
    const skv_step_counts counts = {integer(o, "rows"), integer(o, "tokens"), integer(o, "samplers"),
                                    integer(o, "copies")};
    held_->busy = true;
    auto* keep = new std::shared_ptr<Held>(held_); /* dropped on the event loop: the runner must not destroy itself */
    Held* held = held_.get();
    held->settle.Ref(env);
    held->runner.post([held, keep, deferred, counts] {
      char error[1024] = "";
      const bool failed = held->backend->step(held->engine, &counts, error, sizeof error) != 0;
      const std::string message = error;
      held->settle.BlockingCall([held, keep, deferred, failed, message](Napi::Env env, Napi::Function) {
        held->busy = false;
        held->settle.Unref(env);
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
    Held& h = idle(info.Env());
    char error[1024] = "";
    const int32_t index = h.backend->add_policy(h.engine, info[0].ToString().Utf8Value().c_str(), error, sizeof error);
    if (index < 0) throw Error::New(info.Env(), error);
    return Number::New(info.Env(), index);
  }

  Napi::Value read_lane(const CallbackInfo& info) {
    Held& h = idle(info.Env());
    std::vector<int32_t> out(size_t(h.config.table_stride) * SKV_PAGE);
    const int32_t n = h.backend->read_lane(h.engine, info[0].ToNumber(), info[1].ToNumber(), info[2].ToNumber(),
                                           info[3].ToNumber(), out.data());
    if (n < 0) throw Error::New(info.Env(), "no such sequence, layer, head or lane");
    auto array = Napi::Int32Array::New(info.Env(), size_t(n));
    std::copy(out.begin(), out.begin() + n, array.Data());
    return array;
  }

  Napi::Value logits(const CallbackInfo& info) {
    Held& h = idle(info.Env());
    const float* from = h.backend->logits(h.engine, info[0].ToNumber());
    if (!from) throw Error::New(info.Env(), "the last step kept no logits for this draw");
    auto array = Napi::Float32Array::New(info.Env(), size_t(h.config.model.vocab));
    std::copy(from, from + h.config.model.vocab, array.Data());
    return array;
  }

  Napi::Value describe(const CallbackInfo& info) {
    Held& h = idle(info.Env());
    char json[1024];
    h.backend->describe(h.engine, json, sizeof json);
    return info.Env().Global().Get("JSON").As<Object>().Get("parse").As<Napi::Function>().Call(
        {Napi::String::New(info.Env(), json)});
  }

  /* Frees the engine at once; arrays that were handed out are detached and have length 0 from then on. */
  Napi::Value close(const CallbackInfo& info) {
    if (!held_) return info.Env().Undefined();
    if (held_->busy) throw Error::New(info.Env(), "a step is running");
    for (auto& buffer : memory_) buffer.Value().Detach();
    memory_.clear();
    held_->close();
    held_.reset();
    return info.Env().Undefined();
  }

  std::shared_ptr<Held> held_;
  std::vector<Napi::Reference<Napi::ArrayBuffer>> memory_;
};

Napi::FunctionReference Engine::constructor;

}  // namespace

void define_engine(Napi::Env env) { Engine::define(env); }

Napi::Value open_engine(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto owner = std::make_shared<Held>();
  read_config(info[0].As<Object>(), *owner);
  auto* keep = new std::shared_ptr<Held>(owner); /* dropped on the event loop: the runner must not destroy itself */
  Held* held = owner.get();
  const bool report = info[1].IsFunction();
  auto deferred = Napi::Promise::Deferred::New(env);
  auto settle = std::make_shared<Napi::ThreadSafeFunction>(Napi::ThreadSafeFunction::New(
      env, report ? info[1].As<Napi::Function>() : Napi::Function::New(env, [](const CallbackInfo&) {}), "skv open", 0,
      1));
  held->runner.post([held, keep, deferred, settle] {
    auto progress = [](void* arg, float done) {
      static_cast<Napi::ThreadSafeFunction*>(arg)->BlockingCall(
          [done](Napi::Env env, Napi::Function f) { f.Call({Number::New(env, done)}); });
    };
    if (open_backend(*held)) {
      char error[2048] = "";
      held->engine = held->backend->open(&held->config, &held->buffers, progress, settle.get(), error, sizeof error);
      held->error = error;
    }
    settle->BlockingCall([held, keep, deferred](Napi::Env env, Napi::Function) {
      if (held->engine) {
        Object o = Engine::constructor.New({});
        Engine::Unwrap(o)->attach(*keep);
        deferred.Resolve(o);
      } else {
        deferred.Reject(Error::New(env, held->error).Value());
      }
      delete keep;
    });
    settle->Release();
  });
  return deferred.Promise();
}

}  // namespace skv
