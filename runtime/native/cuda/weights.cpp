#include "weights.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>

#include "packed.h"
#include "random_weights.h"
#include "tensors.h"
#include "threads.h"
#include "weight_types.h"

namespace skv {
namespace {

/* Bytes that are converted and copied at a time. */
constexpr size_t kStaging = size_t(8) << 20;
/* Tensors begin where products and wide loads like it. */
constexpr size_t kAlign = 256;

size_t aligned(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

uint16_t to_bf16(float x) { /* to nearest, ties to even */
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if (x != x) return 0x7fff;
  return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/* Numbers in the dense type. */
void write_dense(const float* numbers, size_t n, int type, uint8_t* out) {
  if (type == SKV_F32) {
    memcpy(out, numbers, n * 4);
    return;
  }
  for (size_t i = 0; i < n; i++) {
    const uint16_t half = to_bf16(numbers[i]);
    memcpy(out + 2 * i, &half, 2);
  }
}

/* Rows of a tensor: as the file has them where products take them so, else in the dense type, as the CPU's products
 * mean them. */
class RowReader {
 public:
  RowReader(const Tensors& tensors, const skv_tensor& tensor, int type)
      : tensors_(tensors), tensor_(tensor), type_(type), format_(find_weight_type(tensor.type)->format) {}

  /* How its rows are quantised, or null. Learned positions are looked up and added: they are plain. */
  const QuantisedType* quantised_as() const {
    return tensor_.role == SKV_T_POSITIONS ? nullptr : find_quantised(tensor_.type);
  }
  size_t row_bytes() const {
    if (quantised_as()) return size_t(row_words(file_bytes())) * sizeof(uint32_t);
    return size_t(tensor_.cols) * (type_ == SKV_F32 ? 4 : 2);
  }

  /* Rows of group g, kRows of them or what is left, to out [row][row_bytes()]. */
  void read_group(int g, uint8_t* out) const {
    const int row0 = g * kRows, rows = std::min(kRows, tensor_.rows - row0);
    if (quantised_as()) {
      for (int r = 0; r < rows; r++)
        memcpy(out + r * row_bytes(), tensors_.data(tensor_) + file_bytes() * (row0 + r), file_bytes());
      return;
    }
    std::vector<float> row(tensor_.cols);
    if (!quantised(format_)) {
      for (int r = 0; r < rows; r++) {
        unpack_plain(tensor_.type, tensors_.data(tensor_) + file_bytes() * (row0 + r), tensor_.cols, row.data());
        write(row, out + r * row_bytes());
      }
      return;
    }
    Matrix group;
    describe(tensor_.type, rows, tensor_.cols, &group);
    std::vector<uint8_t> packed(group.bytes());
    group.data = packed.data();
    pack(group, tensor_.type, tensors_.data(tensor_) + file_bytes() * row0, 0, 1);
    for (int r = 0; r < rows; r++) {
      unpack_row(group, r, row.data());
      write(row, out + r * row_bytes());
    }
  }

 private:
  size_t file_bytes() const { return source_bytes(tensor_.type, 1, tensor_.cols); }
  void write(const std::vector<float>& row, uint8_t* out) const { write_dense(row.data(), row.size(), type_, out); }

  const Tensors& tensors_;
  const skv_tensor& tensor_;
  const int type_;
  const Format format_;
};

/* Gives every tensor its place in one array of the device's, first without it, to learn its size; then fills it. */
class Loader {
 public:
  Loader(const skv_config& config, int type) : config_(config), type_(type), tensors_(config.model) {}

  size_t bytes() const {
    size_t total = 0;
    for (const auto& [key, tensor] : tensors_.all()) total += bytes_of(*tensor);
    /* of biases that only one of joined matrices has, the others' zeros */
    const skv_model& m = config_.model;
    return total +
           size_t(m.layers) * (aligned(4 * size_t(m.heads + 2 * m.kv_heads) * m.head_dim) + aligned(8 * size_t(m.ffn)));
  }

  void load(Device& device, DeviceArray<uint8_t>& memory, DeviceWeights& to, const Progress& progress);

 private:
  bool has(int role, int layer) const { return tensors_.find(role, layer); }
  bool is_vector(const skv_tensor& t) const { return tensors_.shape(t).norm || tensors_.shape(t).bias; }
  size_t bytes_of(const skv_tensor& t) const {
    return aligned(is_vector(t) ? size_t(t.cols) * 4 : RowReader(tensors_, t, type_).row_bytes() * t.rows);
  }
  uint8_t* take(size_t bytes) {
    uint8_t* at = next_;
    next_ += aligned(bytes);
    return at;
  }
  void upload(uint8_t* to, size_t bytes) {
    device_->upload(to, staging_, bytes);
    device_->wait();
    told(bytes);
  }
  /* So many more are there. */
  void told(size_t bytes) {
    done_ += bytes;
    progress_(float(double(done_) / double(total_)));
  }
  void upload_matrix(const skv_tensor& t, uint8_t* to);
  void fill_randomly(uint8_t* to, size_t bytes);
  const float* vector(int role, int layer);
  DeviceLinear linear(std::initializer_list<std::pair<int, int>> roles, int layer);
  DeviceNorm norm(int role, int bias, int layer) { return {vector(role, layer), vector(bias, layer)}; }
  DeviceNorm norm(int role, int layer) { return {vector(role, layer), nullptr}; }
  DeviceLayer layer(int l);

  const skv_config& config_;
  const int type_;
  const Tensors tensors_;
  Device* device_ = nullptr;
  std::unique_ptr<Threads> threads_;
  std::unique_ptr<DeviceArray<uint8_t>> random_; /* a piece of random numbers */
  Progress progress_;
  uint8_t *next_ = nullptr, *staging_ = nullptr;
  size_t staging_bytes_ = 0, done_ = 0, total_ = 1;
};

/* On the device, out of a piece that was sent once. */
void Loader::fill_randomly(uint8_t* to, size_t bytes) {
  if (!random_) {
    std::vector<float> numbers(kRandomWeights);
    for (int64_t i = 0; i < kRandomWeights; i++) numbers[i] = bf16_to_f32(random_weight(i));
    random_ = std::make_unique<DeviceArray<uint8_t>>(*device_, kRandomWeights * (type_ == SKV_F32 ? 4 : 2), "a piece");
    write_dense(numbers.data(), numbers.size(), type_, staging_);
    device_->upload(random_->data(), staging_, random_->bytes());
    device_->wait();
  }
  for (size_t at = 0; at < bytes; at += random_->bytes())
    device_->copy(to + at, random_->data(), std::min(random_->bytes(), bytes - at));
  device_->wait();
  told(bytes);
}

/* In pieces that staging holds, whose row groups are dealt out to threads. */
void Loader::upload_matrix(const skv_tensor& t, uint8_t* to) {
  const RowReader reader(tensors_, t, type_);
  const size_t row = reader.row_bytes();
  if (Tensors::random(t)) return fill_randomly(to, row * t.rows);
  const int groups = (t.rows + kRows - 1) / kRows, piece = std::max(1, int(staging_bytes_ / (row * kRows)));
  for (int first = 0; first < groups; first += piece) {
    const int n = std::min(piece, groups - first), row0 = first * kRows, row1 = std::min(t.rows, (first + n) * kRows);
    threads_->each(n, [&](int32_t i, int32_t) { reader.read_group(first + i, staging_ + row * kRows * i); });
    tensors_.release(t, row0, row1);
    upload(to + row * row0, row * (row1 - row0));
  }
}

const float* Loader::vector(int role, int layer) {
  const skv_tensor* t = tensors_.find(role, layer);
  if (!t) return nullptr;
  uint8_t* at = take(size_t(t->cols) * 4);
  tensors_.read_vector(*t, reinterpret_cast<float*>(staging_));
  upload(at, size_t(t->cols) * 4);
  return reinterpret_cast<const float*>(at);
}

/* Matrices and biases of these roles, one below the other; plain ones that are neighbours become one part. */
DeviceLinear Loader::linear(std::initializer_list<std::pair<int, int>> roles, int layer) {
  DeviceLinear out;
  bool biased = false;
  std::vector<const skv_tensor*> tensors;
  for (const auto& [role, bias] : roles) {
    const skv_tensor* t = tensors_.find(role, layer);
    if (!t) continue;
    tensors.push_back(t);
    out.cols = t->cols;
    out.rows += t->rows;
    biased = biased || has(bias, layer);
  }
  for (size_t first = 0, end; first < tensors.size(); first = end) {
    auto reader = [&](size_t i) { return RowReader(tensors_, *tensors[i], type_); };
    size_t bytes = reader(first).row_bytes() * tensors[first]->rows;
    end = first + 1;
    if (!reader(first).quantised_as())
      for (; end < tensors.size() && !reader(end).quantised_as(); end++)
        bytes += reader(end).row_bytes() * tensors[end]->rows;
    DevicePart part;
    part.quantised = reader(first).quantised_as();
    part.row_words = int(reader(first).row_bytes() / sizeof(uint32_t));
    uint8_t* at = take(bytes);
    part.w = at;
    for (size_t i = first; i < end; i++) {
      upload_matrix(*tensors[i], at);
      at += reader(i).row_bytes() * tensors[i]->rows;
      part.rows += tensors[i]->rows;
    }
    out.part.push_back(part);
  }
  if (!biased) return out;
  float* row = reinterpret_cast<float*>(staging_);
  memset(row, 0, size_t(out.rows) * 4);
  for (const auto& [role, bias] : roles) {
    const skv_tensor* t = tensors_.find(role, layer);
    if (!t) continue;
    if (const skv_tensor* b = tensors_.find(bias, layer)) tensors_.read_vector(*b, row);
    row += t->rows;
  }
  uint8_t* biases = take(size_t(out.rows) * 4);
  upload(biases, size_t(out.rows) * 4);
  out.bias = reinterpret_cast<const float*>(biases);
  return out;
}

DeviceLayer Loader::layer(int l) {
  DeviceLayer out;
  out.attn_norm = norm(SKV_T_ATTN_NORM, SKV_T_ATTN_NORM_BIAS, l);
  out.qkv = linear({{SKV_T_Q, SKV_T_Q_BIAS}, {SKV_T_K, SKV_T_K_BIAS}, {SKV_T_V, SKV_T_V_BIAS}}, l);
  out.q_norm = norm(SKV_T_Q_NORM, l);
  out.k_norm = norm(SKV_T_K_NORM, l);
  out.o = linear({{SKV_T_O, SKV_T_O_BIAS}}, l);
  out.attn_post_norm = norm(SKV_T_ATTN_POST_NORM, l);
  out.ffn_norm = norm(SKV_T_FFN_NORM, SKV_T_FFN_NORM_BIAS, l);
  out.gate_up = linear({{SKV_T_GATE, SKV_T_GATE_BIAS}, {SKV_T_UP, SKV_T_UP_BIAS}}, l);
  out.is_gated = has(SKV_T_GATE, l);
  out.down = linear({{SKV_T_DOWN, SKV_T_DOWN_BIAS}}, l);
  out.ffn_post_norm = norm(SKV_T_FFN_POST_NORM, l);
  return out;
}

void Loader::load(Device& device, DeviceArray<uint8_t>& memory, DeviceWeights& to, const Progress& progress) {
  device_ = &device;
  progress_ = progress;
  next_ = memory.data();
  total_ = memory.bytes();
  staging_bytes_ = kStaging; /* at least a group's rows, or the biases of matrices that are joined */
  for (const auto& [key, t] : tensors_.all())
    staging_bytes_ = std::max({staging_bytes_, size_t(t->cols) * 4 * kRows, size_t(t->rows) * 4 * 3});
  HostArray<uint8_t> staging(device, staging_bytes_);
  staging_ = staging.data();
  /* with pages in host memory the processors are attention's: this thread goes on beside it */
  const int pinned = config_.cpu && !config_.host_pages ? config_.threads : 0;
  threads_ = std::make_unique<Threads>(config_.threads, std::vector<int>(config_.cpu, config_.cpu + pinned));
  to.embed = linear({{SKV_T_EMBED, -1}}, 0);
  const DeviceLinear positions = linear({{SKV_T_POSITIONS, -1}}, 0);
  to.positions = positions.rows ? positions.part[0].w : nullptr;
  to.output = has(SKV_T_OUTPUT, 0) ? linear({{SKV_T_OUTPUT, -1}}, 0) : to.embed;
  to.output_norm = norm(SKV_T_OUTPUT_NORM, SKV_T_OUTPUT_NORM_BIAS, 0);
  for (int l = 0; l < config_.model.layers; l++) to.layer.push_back(layer(l));
}

}  // namespace

DeviceWeights::DeviceWeights(Device& device, const skv_config& config, int type, const Progress& progress)
    : memory_(device, 0, "weights") {
  Loader loader(config, type);
  memory_.resize(loader.bytes(), "weights");
  loader.load(device, memory_, *this, progress);
}

}  // namespace skv
