// The driver of a bundle: gpu.sh calls it, or torch_peer.py with torch as the peer.
#include <cstdio>

#include "driver.h"

namespace {

int run(const std::vector<std::string>& args, Peer peer, Judge judge) {
  const std::string command = args.empty() ? "" : args[0];
  if (command == "device" && args.size() == 1) {
    printf("%s\n", device::describe().c_str());
    fflush(stdout);
    return 0;
  }
  if (command == "test" && args.size() > 2) {
    device::describe();  // throws where nothing can run
    return check_vectors(args[1], {args.begin() + 2, args.end()}) ? 1 : 0;
  }
  const size_t tiny = args.size() > 2 && args.back() == "tiny";
  if (command == "attention" && args.size() > 1 + tiny) {
    int failed = 0;
    for (size_t i = 1; i < args.size() - tiny; i++) failed += check_attention(args[i], tiny, judge);
    return failed ? 1 : 0;
  }
  if (command == "bench" && args.size() == 3 + tiny) return bench_kernels(args[1], args[2], tiny, peer);
  fprintf(stderr,
          "usage: driver device | driver test POLICY.so VECTOR… | driver attention POLICY.so… [tiny]\n"
          "       driver bench FOLDER JSON [tiny]\n");
  return 2;
}

}  // namespace

// 0: fine, 1: something failed or was left out, 2: wrong arguments, 3: it cannot run.
extern "C" int skv_driver(int argc, const char** argv, Peer peer, Judge judge) {
  setvbuf(stdout, nullptr, _IOLBF, 0);  // whoever is stopped has told what it knew
  try {
    return run({argv, argv + argc}, peer, judge);
  } catch (const std::exception& error) {
    fprintf(stderr, "%s\n", error.what());
    return 3;
  }
}

int main(int argc, char** argv) { return skv_driver(argc - 1, (const char**)argv + 1, nullptr, nullptr); }
