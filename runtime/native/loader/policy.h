/* Opens compiled policies. */
#ifndef SKV_POLICY_H
#define SKV_POLICY_H
#include <string>

#include "abi.h"

namespace skv {

/* Opens the library for good (handles stay open: code may be in use). A library is first opened in a forked child, so
 * that one that crashes while loading is a message and not the end of the server. A library may hold several policies:
 * "path#symbol" names the entry of one. One that was built for another target is refused, since its pointers are of
 * another memory; with no target named, none is. Throws std::runtime_error. */
const skv_policy* open_policy(const std::string& name, const std::string& target = "cpu");

}  // namespace skv
#endif
