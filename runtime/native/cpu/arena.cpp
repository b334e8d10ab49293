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

Arena::Arena(size_t bytes) : bytes_(bytes ? bytes : kLine) {
  void* at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED)
    throw std::runtime_error("cannot reserve " + std::to_string(bytes_) + " bytes: " + strerror(errno));
  madvise(at, bytes_, MADV_HUGEPAGE);
  data_ = static_cast<uint8_t*>(at);
}

Arena::~Arena() { munmap(data_, bytes_); }

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
  const size_t page = size_t(sysconf(_SC_PAGESIZE)), first = (offset + page - 1) / page * page;
  const size_t last = end / page * page;
  if (last > first) madvise(static_cast<uint8_t*>(data_) + first, last - first, MADV_DONTNEED);
}

}  // namespace skv
