/* Memory from the system: reserved for the life of an engine, or mapped from a file. */
#ifndef SKV_ARENA_H
#define SKV_ARENA_H
#include <cstddef>
#include <cstdint>
#include <memory>

namespace skv {

constexpr size_t kLine = 64; /* bytes of a cache line */
constexpr size_t whole_lines(size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

/* What may be read past the end of packed weights: kernels prefetch ahead of what they compute with. */
constexpr size_t kPrefetchSlack = 4096;

/* Zeroed memory that starts on a page of the system and is backed page by page as it is touched. The page behind it may
 * not be touched: who writes too far ends there instead of in another array. */
class Arena {
 public:
  explicit Arena(size_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  uint8_t* data_;
  size_t bytes_;
};

/* An array in an arena of its own: starts on a cache line, costs memory only where it was touched. */
template <class T>
class Array {
 public:
  Array() = default;
  explicit Array(size_t n) { resize(n); }
  /* Contents are lost. */
  void resize(size_t n) {
    n_ = n;
    arena_ = std::make_unique<Arena>(n * sizeof(T));
  }
  size_t size() const { return n_; }
  T* data() const { return reinterpret_cast<T*>(arena_->data()); }
  T& operator[](size_t i) const { return data()[i]; }

 private:
  std::unique_ptr<Arena> arena_;
  size_t n_ = 0;
};

/* A file, mapped for reading. */
class Mapping {
 public:
  /* Throws std::runtime_error naming the file. */
  explicit Mapping(const char* path);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  const uint8_t* at(size_t offset) const { return static_cast<const uint8_t*>(data_) + offset; }
  size_t bytes() const { return bytes_; }
  /* [offset, end) is not read again: its whole pages leave this process's memory, and stay in the system's file
   * cache. */
  void release(size_t offset, size_t end) const;

 private:
  void* data_;
  size_t bytes_;
};

}  // namespace skv
#endif
