/* A crash in native code ends the process with one clear last line, never a hang. */
#ifndef SKV_CRASH_H
#define SKV_CRASH_H
namespace skv {
void install_crash_handler();
}
#endif
