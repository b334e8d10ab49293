/* What an engine is, as JSON. */
#ifndef SKV_DESCRIBE_H
#define SKV_DESCRIBE_H
#include <string>

#include "backend.h"

namespace skv {

/* isa: of the processor's path, or the device's name. more: a backend's own fields, `,"name":value` each. */
inline std::string describe_engine(const std::string& isa, int threads, size_t weight_bytes, size_t pool_bytes,
                                   const skv_shape& shape, const std::string& more) {
  auto number = [](const char* name, size_t value) {
    return std::string(",\"") + name + "\":" + std::to_string(value);
  };
  return "{\"isa\":\"" + isa + "\"" + number("threads", threads) + number("weightBytes", weight_bytes) +
         number("poolBytes", pool_bytes) + number("pages", shape.pages) + number("pageBytes", shape.page_bytes) +
         number("lanes", shape.lanes) + more + "}";
}

}  // namespace skv
#endif
