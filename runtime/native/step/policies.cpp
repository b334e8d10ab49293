#include "policies.h"

#include "policy.h"

namespace skv {

int Policies::add(const char* path) {
  const skv_policy* policy = open_policy(path, target_);
  if (policy->lanes > shape_.lanes)
    throw std::runtime_error(std::string(policy->name) + " needs " + std::to_string(policy->lanes) +
                             " lanes a page, the pool has " + std::to_string(shape_.lanes) +
                             ": name the policy at start");
  if (const int32_t code = policy->accepts(&shape_))
    throw std::runtime_error(std::string(policy->name) + ": " + policy->error(code));
  opened_.push_back(policy);
  return count() - 1;
}

int64_t Policies::scratch_bytes() const {
  int64_t most = 64;
  for (const skv_policy* policy : opened_) most = std::max(most, policy->scratch_bytes(&shape_));
  return most;
}

int64_t Policies::step_floats() const {
  int64_t most = 16;
  for (const skv_policy* policy : opened_) most = std::max(most, policy->step_floats(&shape_));
  return most;
}

}  // namespace skv
