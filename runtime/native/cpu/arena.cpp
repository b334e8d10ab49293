#include "arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace skv {

namespace {
size_t page_bytes() { return size_t(sysconf(_SC_PAGESIZE)); }
size_t whole_pages(size_t bytes) { return (bytes + page_bytes() - 1) / page_bytes() * page_bytes(); }
}  // namespace

Arena::Arena(size_t bytes) : bytes_(bytes ? bytes : kLine) {
  const size_t pages = whole_pages(bytes_);
  void* at =
      mmap(nullptr, pages + page_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED)
    throw std::runtime_error("cannot reserve " + std::to_string(bytes_) + " bytes: " + strerror(errno));
  data_ = static_cast<uint8_t*>(at);
  mprotect(data_ + pages, page_bytes(), PROT_NONE);
  madvise(data_, pages, MADV_HUGEPAGE);
}

Arena::~Arena() { munmap(data_, whole_pages(bytes_) + page_bytes()); }

Mapping::Mapping(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0) {
    if (fd >= 0) close(fd);
    throw std::runtime_error(std::string(path) + ": " + strerror(errno));
  }
  bytes_ = size_t(info.st_size);
  data_ = mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, fd, 0);
  close(fd);
  if (data_ == MAP_FAILED) throw std::runtime_error(std::string(path) + ": cannot map: " + strerror(errno));
}

Mapping::~Mapping() { munmap(data_, bytes_); }

void Mapping::release(size_t offset, size_t end) const {
  const size_t first = whole_pages(offset), last = end / page_bytes() * page_bytes();
  if (last > first) madvise(static_cast<uint8_t*>(data_) + first, last - first, MADV_DONTNEED);
}

}  // namespace skv
