#include "policy.h"

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>

namespace skv {
namespace {

/* The policy in an opened library. Throws std::runtime_error. */
const skv_policy& entry_of(void* handle, const std::string& path, const std::string& symbol) {
  auto no_policy = [&](const std::string& why) { return std::runtime_error(path + " is no policy library: " + why); };
  auto entry = reinterpret_cast<skv_policy_entry_fn>(dlsym(handle, symbol.c_str()));
  if (!entry) throw no_policy("it exports no " + symbol);
  const skv_policy* policy = entry();
  if (!policy) throw no_policy("its entry returned nothing");
  if (policy->abi_version != SKV_ABI_VERSION || policy->size != sizeof(skv_policy))
    throw std::runtime_error(path + " was built with another version of skv: build the policy again");
  if (policy->lanes < 1 || policy->lanes > SKV_MAX_LANES) throw no_policy("it asks for an impossible number of lanes");
  if (!policy->error) throw no_policy("it has no words for its errors");
  return *policy;
}

/* Opens the library in a child first. Throws std::runtime_error when that child dies of it. */
void probe(const std::string& path, const std::string& symbol) {
  const pid_t child = fork();
  if (child < 0) return; /* no process to spare: open it directly */
  if (child == 0) {
    for (int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) signal(s, SIG_DFL);
    alarm(10); /* a lock held by another thread at the fork would otherwise hang the child */
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    auto entry = handle ? reinterpret_cast<skv_policy_entry_fn>(dlsym(handle, symbol.c_str())) : nullptr;
    if (entry) entry();
    _exit(0); /* whatever is wrong and no crash is said by the parent */
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status))
    throw std::runtime_error(path + ": loading it crashed (" + strsignal(WTERMSIG(status)) + ")");
}

/* Throws std::runtime_error. */
const skv_policy* open_library(const std::string& name) {
  const size_t mark = name.rfind('#');
  const std::string path = name.substr(0, mark);
  const std::string symbol = mark == std::string::npos ? SKV_POLICY_ENTRY : name.substr(mark + 1);
  probe(path, symbol);
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) throw std::runtime_error(std::string("cannot open policy: ") + dlerror());
  try {
    return &entry_of(handle, path, symbol);
  } catch (...) {
    dlclose(handle);
    throw;
  }
}

}  // namespace

const skv_policy* open_policy(const std::string& name, const std::string& target) {
  static std::mutex mutex;
  static std::map<std::string, const skv_policy*> opened;
  std::lock_guard<std::mutex> lock(mutex);
  const auto found = opened.find(name);
  const skv_policy* policy = found == opened.end() ? opened[name] = open_library(name) : found->second;
  if (!target.empty() && target != policy->target)
    throw std::runtime_error(name + " was built for the target " + policy->target + "; this engine runs " + target +
                             ": build the policy with --target " + target);
  return policy;
}

}  // namespace skv
