/* A device that answers nothing any more: memory of this process's is broken there, and every call fails from now on.
 */
#ifndef SKV_LOST_H
#define SKV_LOST_H
#include <stdexcept>

namespace skv {

struct Lost : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace skv
#endif
