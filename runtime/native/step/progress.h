#ifndef SKV_PROGRESS_H
#define SKV_PROGRESS_H

namespace skv {

/* Whom a long load tells how far it is; may be nobody. */
struct Progress {
  void (*report)(void* arg, float done) = nullptr;
  void* arg = nullptr;
  void operator()(float done) const {
    if (report) report(arg, done);
  }
};

}  // namespace skv
#endif
