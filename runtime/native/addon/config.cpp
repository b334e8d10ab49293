#include "config.h"

#include "addon.h"

namespace skv {
namespace {

using Napi::Array;
using Napi::Error;
using Napi::Object;
using Napi::Value;

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
  const Array layers = from.Get("layer").As<Array>();
  for (uint32_t i = 0; i < layers.Length(); i++) {
    skv_layer layer{};
    read_numbers(layers.Get(i).As<Object>(), layer);
    to.layers.push_back(layer);
  }
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
  model.layer = to.layers.data();
  model.tensors = int32_t(to.tensors.size());
  model.tensor = to.tensors.data();
  model.files = int32_t(to.file_names.size());
  model.file = to.file_names.data();
  const int half = model.head_dim / 2;
  if (model.kv_heads < 1 || model.heads % model.kv_heads || half < 1 || to.inv_freq.empty() ||
      to.inv_freq.size() % half || int(to.layers.size()) != model.layers)
    throw Error::New(from.Env(),
                     "the model's heads, KV heads, head size, layers and RoPE frequencies do not fit together");
  if (model.rope_dims < 2 || model.rope_dims > model.head_dim || model.rope_dims % 2)
    throw Error::New(from.Env(), "RoPE rotates a number of dimensions that a head does not have");
  model.ropes = int32_t(to.inv_freq.size()) / half;
  for (const skv_layer& layer : to.layers)
    if (layer.rope < 0 || layer.rope >= model.ropes || layer.window < 0)
      throw Error::New(from.Env(), "a layer's window or table of RoPE frequencies is out of range");
}

}  // namespace

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

}  // namespace skv
