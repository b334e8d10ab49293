#include "weights.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <stdexcept>

namespace skv {

Arena::Arena(size_t bytes) : bytes_(bytes ? bytes : 64) {
  void* at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED)
    throw std::runtime_error("cannot reserve " + std::to_string(bytes_) + " bytes: " + strerror(errno));
  madvise(at, bytes_, MADV_HUGEPAGE);
  data_ = static_cast<uint8_t*>(at);
}

Arena::~Arena() { munmap(data_, bytes_); }

namespace {

/* A model file, mapped while its tensors are packed. */
class Mapping {
 public:
  explicit Mapping(const char* path) {
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
  ~Mapping() { munmap(data_, bytes_); }
  Mapping(const Mapping&) = delete;
  const uint8_t* at(size_t offset) const { return static_cast<const uint8_t*>(data_) + offset; }
  /* [offset, end) has been packed: its whole pages leave this process's memory, and stay in the system's file cache. */
  void done(size_t offset, size_t end) const {
    const size_t page = size_t(sysconf(_SC_PAGESIZE)), first = (offset + page - 1) / page * page;
    if (end / page * page > first)
      madvise(static_cast<uint8_t*>(data_) + first, end / page * page - first, MADV_DONTNEED);
  }
  size_t bytes() const { return bytes_; }

 private:
  void* data_;
  size_t bytes_;
};

bool per_layer(int role) { return role >= SKV_T_ATTN_NORM; }
bool is_norm(int role) { return role == SKV_T_OUTPUT_NORM || role == SKV_T_ATTN_NORM || role == SKV_T_FFN_NORM; }

std::string name_of(const skv_tensor& t) {
  const char* role = skv_role_name(t.role);
  const std::string name = role ? role : "role " + std::to_string(t.role);
  return per_layer(t.role) ? name + " of layer " + std::to_string(t.layer) : name;
}

/* Outputs and inputs a role must have. */
void expected_shape(const skv_model& m, int role, int* rows, int* cols) {
  const int q = m.heads * m.head_dim, kv = m.kv_heads * m.head_dim;
  switch (role) {
    case SKV_T_EMBED:
    case SKV_T_OUTPUT:
      *rows = m.vocab, *cols = m.width;
      break;
    case SKV_T_Q:
      *rows = q, *cols = m.width;
      break;
    case SKV_T_K:
    case SKV_T_V:
      *rows = kv, *cols = m.width;
      break;
    case SKV_T_O:
      *rows = m.width, *cols = q;
      break;
    case SKV_T_GATE:
    case SKV_T_UP:
      *rows = m.ffn, *cols = m.width;
      break;
    case SKV_T_DOWN:
      *rows = m.width, *cols = m.ffn;
      break;
    default:
      *rows = 1, *cols = m.width;
  }
}

void check(const skv_model& m, const skv_tensor& t, const std::vector<std::unique_ptr<Mapping>>& files) {
  auto fail = [&](const std::string& what) { throw std::runtime_error("tensor " + name_of(t) + ": " + what); };
  if (t.role < 0 || t.role >= SKV_T_COUNT) fail("unknown role");
  if (t.layer < 0 || t.layer >= (per_layer(t.role) ? m.layers : 1)) fail("layer out of range");
  int rows, cols;
  expected_shape(m, t.role, &rows, &cols);
  if (t.rows != rows || t.cols != cols)
    fail("is " + std::to_string(t.rows) + " x " + std::to_string(t.cols) + ", the model needs " + std::to_string(rows) +
         " x " + std::to_string(cols));
  const size_t bytes = source_bytes(t.type, t.rows, t.cols);
  if (bytes == 0) fail("type " + std::to_string(t.type) + " is not supported for this shape");
  if (t.file < 0 || t.file >= int(files.size())) fail("file index out of range");
  const size_t size = files[t.file]->bytes();
  if (t.bytes < 0 || size_t(t.bytes) != bytes || t.offset < 0 || size_t(t.offset) > size ||
      size - size_t(t.offset) < bytes)
    fail("needs " + std::to_string(bytes) + " bytes at " + std::to_string(t.offset) + ", the file has " +
         std::to_string(size));
}

}  // namespace

Weights::Weights(const skv_model& m, Threads& threads, void (*progress)(void*, float), void* arg) {
  std::vector<std::unique_ptr<Mapping>> files;
  for (int i = 0; i < m.files; i++) files.push_back(std::make_unique<Mapping>(m.file[i]));

  struct Item {
    const skv_tensor* tensor;
    Matrix matrix;
    size_t offset;
  };
  std::map<std::pair<int, int>, Item> items; /* (role, layer) */
  size_t total = 0;
  for (int i = 0; i < m.tensors; i++) {
    const skv_tensor& t = m.tensor[i];
    check(m, t, files);
    Item item{&t, {}, total};
    if (is_norm(t.role)) {
      if (t.type != SKV_W_F32 && t.type != SKV_W_F16 && t.type != SKV_W_BF16)
        throw std::runtime_error("tensor " + name_of(t) + ": a norm must be F32, F16 or BF16");
      item.matrix = Matrix{Format::F32, t.rows, t.cols, nullptr};
      total += (size_t(t.cols) * 4 + 63) / 64 * 64;
    } else {
      if (!describe(t.type, t.rows, t.cols, &item.matrix))
        throw std::runtime_error("tensor " + name_of(t) + ": cannot pack");
      total += item.matrix.bytes();
    }
    if (!items.emplace(std::make_pair(t.role, t.layer), item).second)
      throw std::runtime_error("tensor " + name_of(t) + " is given twice");
  }
  auto need = [&](int role, int l) -> Item& {
    auto found = items.find({role, l});
    if (found == items.end())
      throw std::runtime_error(std::string("tensor ") + skv_role_name(role) + " of layer " + std::to_string(l) +
                               " is missing");
    return found->second;
  };
  for (int role = 0; role < SKV_T_COUNT; role++)
    for (int l = 0; l < (per_layer(role) ? m.layers : 1); l++)
      if (role != SKV_T_OUTPUT) need(role, l);

  arena_ = std::make_unique<Arena>(total + 4096); /* prefetches may run past the end */
  /* Work in slices of row groups, so that one large tensor does not keep one thread busy alone. */
  struct Slice {
    Item* item;
    int group0, group1;
  };
  std::vector<Slice> slices;
  for (auto& [key, item] : items) {
    item.matrix.data = arena_->data() + item.offset;
    const int groups = is_norm(key.first) ? 1 : item.matrix.groups();
    for (int g = 0; g < groups; g += 64) slices.push_back({&item, g, g + 64 < groups ? g + 64 : groups});
  }
  std::atomic<int> done{0};
  threads.each(int(slices.size()), [&](int32_t i, int32_t worker) {
    const Item& item = *slices[i].item;
    const skv_tensor& t = *item.tensor;
    const uint8_t* source = files[t.file]->at(size_t(t.offset));
    if (is_norm(t.role)) {
      float* to = reinterpret_cast<float*>(item.matrix.data);
      for (int c = 0; c < t.cols; c++) {
        uint16_t half;
        if (t.type == SKV_W_F32)
          memcpy(to + c, source + 4 * c, 4);
        else {
          memcpy(&half, source + 2 * c, 2);
          const uint32_t bits = uint32_t(half) << 16;
          if (t.type == SKV_W_F16)
            to[c] = f16_to_f32(half);
          else
            memcpy(to + c, &bits, 4);
        }
      }
    } else {
      const int group1 = slices[i].group1, row0 = slices[i].group0 * kRows, row1 = std::min(t.rows, group1 * kRows);
      pack(item.matrix, t.type, source, slices[i].group0, group1);
      const size_t row_bytes = source_bytes(t.type, 1, t.cols);
      files[t.file]->done(size_t(t.offset) + row_bytes * row0, size_t(t.offset) + row_bytes * row1);
    }
    const int finished = done.fetch_add(1) + 1;
    if (worker == 0 && progress) progress(arg, float(finished) / float(slices.size()));
  });

  auto matrix = [&](int role, int l) { return need(role, l).matrix; };
  auto norm = [&](int role, int l) { return reinterpret_cast<const float*>(need(role, l).matrix.data); };
  embed = matrix(SKV_T_EMBED, 0);
  output = items.count({SKV_T_OUTPUT, 0}) ? matrix(SKV_T_OUTPUT, 0) : embed;
  output_norm = norm(SKV_T_OUTPUT_NORM, 0);
  for (int l = 0; l < m.layers; l++)
    layer.push_back({norm(SKV_T_ATTN_NORM, l), norm(SKV_T_FFN_NORM, l), matrix(SKV_T_Q, l), matrix(SKV_T_K, l),
                     matrix(SKV_T_V, l), matrix(SKV_T_O, l), matrix(SKV_T_GATE, l), matrix(SKV_T_UP, l),
                     matrix(SKV_T_DOWN, l)});
  plain = false;
  for (const Layer& l : layer)
    for (const Matrix* m : {&l.q, &l.k, &l.v, &l.gate, &l.up}) plain |= !quantised(m->format);
}

}  // namespace skv
