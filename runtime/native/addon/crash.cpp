#include "crash.h"

#include <csignal>
#include <cstring>
#include <unistd.h>

#include <initializer_list>

namespace skv {
namespace {

const char* name_of(int signal) {
  switch (signal) {
    case SIGSEGV:
      return "SIGSEGV";
    case SIGBUS:
      return "SIGBUS";
    case SIGFPE:
      return "SIGFPE";
    case SIGILL:
      return "SIGILL";
    default:
      return "SIGABRT";
  }
}

/* Only write() and raise() here: nothing else is safe after a crash. */
void on_crash(int signal) {
  const char* parts[] = {
      "\nskv: native code crashed (", name_of(signal),
      "). This is a bug in skv or in a compiled policy; the server has stopped and can be started again.\n"};
  for (const char* part : parts)
    if (write(STDERR_FILENO, part, strlen(part)) < 0) break;
  raise(signal); /* the default action was restored by SA_RESETHAND */
}

}  // namespace

void install_crash_handler() {
  static char stack[1 << 16]; /* a stack overflow has no room on its own stack */
  stack_t alternate{};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof stack;
  sigaltstack(&alternate, nullptr);
  struct sigaction action{};
  action.sa_handler = on_crash;
  action.sa_flags = SA_ONSTACK | SA_RESETHAND | SA_NODEFER;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigaction(signal, &action, nullptr);
}

}  // namespace skv
