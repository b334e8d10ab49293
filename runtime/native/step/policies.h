/* The policies that an engine has opened, for one target and one shape. */
#ifndef SKV_POLICIES_H
#define SKV_POLICIES_H
#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "abi.h"

namespace skv {

class Policies {
 public:
  /* target and shape must outlive this. */
  Policies(const char* target, const skv_shape& shape) : target_(target), shape_(shape) {}

  /* Opens one more; its index. Throws std::runtime_error for one that cannot run here. */
  int add(const char* path);
  int count() const { return int(opened_.size()); }
  /* The most that one of them asks for, at least a little. */
  int64_t scratch_bytes() const;
  int64_t step_floats() const;
  const skv_policy& operator[](int i) const { return *opened_[i]; }

  /* Calls fn(policy, index) for the policies of rows of which uses(row) is true; fn returns a code of abi.h. Throws
   * with the policy's own words where one is not 0. */
  template <class Uses, class Fn>
  void each(const skv_row* row, int rows, Uses&& uses, const char* failed, Fn&& fn) const {
    for (int p = 0; p < count(); p++) {
      const skv_policy& policy = *opened_[p];
      if (std::none_of(row, row + rows, [&](const skv_row& each) { return each.policy == p && uses(each); })) continue;
      if (const int32_t code = fn(policy, p))
        throw std::runtime_error(std::string("policy ") + policy.name + " " + failed + " with code " +
                                 std::to_string(code) + ": " + policy.error(code));
    }
  }

 private:
  const char* const target_;
  const skv_shape& shape_;
  std::vector<const skv_policy*> opened_;
};

}  // namespace skv
#endif
