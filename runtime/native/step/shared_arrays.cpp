#include "shared_arrays.h"

#include <type_traits>

#include "fields.h"

namespace skv {
namespace {

constexpr size_t whole_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

size_t shared_bytes(const skv_config& c) {
  size_t total = 0;
  skv_buffers arrays{};
  each_array(c, arrays, [&](const char*, auto* array, size_t n) { total += whole_lines(n * sizeof *array); });
  return total;
}

skv_buffers shared_arrays(const skv_config& c, uint8_t* block) {
  skv_buffers arrays{};
  each_array(c, arrays, [&](const char*, auto*& array, size_t n) {
    array = reinterpret_cast<std::remove_reference_t<decltype(array)>>(block);
    block += whole_lines(n * sizeof *array);
  });
  return arrays;
}

}  // namespace skv
