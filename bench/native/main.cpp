#include <cstdio>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "bench.h"

using namespace skv::bench;

namespace {

Answer run(const std::string& line, std::unique_ptr<skv::Threads>& threads) {
  std::istringstream in(line);
  std::string verb, name;
  in >> verb;
  if (verb == "threads") {
    int count;
    in >> count;
    std::vector<int> cpus;
    for (int cpu; in >> cpu;) cpus.push_back(cpu);
    threads = std::make_unique<skv::Threads>(count, cpus);
    return {};
  }
  if (!threads) throw std::runtime_error("threads comes first");
  if (verb == "limit") {
    in >> name;
    return limit(name, *threads);
  }
  if (verb == "product") {
    int type, rows, cols, tokens, of_prompts;
    in >> type >> rows >> cols >> tokens >> of_prompts;
    return product(type, rows, cols, tokens, of_prompts != 0, *threads);
  }
  if (verb == "open") {
    PoolSpec s;
    in >> s.layers >> s.kv_heads >> s.group >> s.dim >> s.slots >> s.max_tokens >> s.seqs >> std::ws;
    std::getline(in, s.path); /* may hold spaces */
    open_pool(s, *threads);
    return {};
  }
  if (verb == "params") {
    int first;
    in >> first;
    std::vector<float> values;
    for (float value; in >> value;) values.push_back(value);
    set_params(first, values);
    return {};
  }
  if (verb == "pass") {
    int tokens, slots, keep, window;
    in >> name >> tokens >> slots >> keep >> window;
    return pass(name, tokens, slots, keep, window, *threads);
  }
  if (verb == "close") {
    close_pool();
    return {};
  }
  throw std::runtime_error("no command " + verb);
}

}  // namespace

int main() {
  std::unique_ptr<skv::Threads> threads;
  for (std::string line; std::getline(std::cin, line);) {
    try {
      const Answer a = run(line, threads);
      printf("{\"seconds\":%.9g,\"bytes\":%.17g,\"ops\":%.17g}\n", a.seconds, a.bytes, a.ops);
    } catch (const std::exception& e) {
      printf("{\"error\":\"%s\"}\n", e.what());
    }
    fflush(stdout);
  }
}
