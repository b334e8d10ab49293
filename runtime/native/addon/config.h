/* What TypeScript opens an engine with, as a backend wants it. */
#ifndef SKV_ADDON_CONFIG_H
#define SKV_ADDON_CONFIG_H
#include <napi.h>

#include <string>
#include <vector>

#include "backend.h"

namespace skv {

/* skv_config, and the memory that its pointers point into. */
struct Config {
  skv_config values{};
  std::vector<std::string> files, policies;
  std::vector<const char*> file_names, policy_names;
  std::vector<skv_tensor> tensors;
  std::vector<skv_layer> layers;
  std::vector<float> inv_freq;
  std::vector<int32_t> cpus;
};

/* Reads an EngineConfig. Throws for what is missing or does not fit together. */
void read_config(const Napi::Object& from, Config& to);

}  // namespace skv
#endif
