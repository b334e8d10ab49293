#include "outbox.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "launched.cuh"

namespace skv {
namespace {

/* Words of a piece at most: what one warp moves. */
constexpr size_t kPieceMost = 2048;
/* Words of an entry of the list of pieces. */
constexpr size_t kPieceSize = sizeof(OutboxPiece) / sizeof(uint32_t);
constexpr int kOutboxThreads = 256;

}  // namespace

// A warp moves a piece: bound by the copy that came before.
//   grid (pieces / warps of a block); sent: words, from list0 on OutboxPiece [pieces]
static __global__ void __launch_bounds__(kOutboxThreads)
    outbox_kernel(const uint32_t* sent, int64_t list0, int pieces) {
  const int piece = blockIdx.x * (kOutboxThreads / 32) + threadIdx.x / 32;
  if (piece >= pieces) return;
  const Global<const uint32_t> words = global(sent);
  const int64_t at = list0 + piece * (int64_t)kPieceSize;
  const uint64_t to = (uint32_t)words[at] | (uint64_t)(uint32_t)words[at + 1] << 32;
  const int64_t from = (uint32_t)words[at + 2];
  const int n = (int)(uint32_t)words[at + 3];
  for (int i = threadIdx.x % 32; i < n; i += 32) global((uint32_t*)to)[i] = words[from + i];
}

Outbox::Outbox(Device& device, size_t words, size_t puts)
    : device_(device),
      most_words_(words),
      most_pieces_(puts + words / kPieceMost),
      words_(device, words + most_pieces_ * kPieceSize),
      sent_(device, words + most_pieces_ * kPieceSize, "what a step sends") {}

void Outbox::put_words(uint32_t* to, const uint32_t* from, size_t words) {
  if (words == 0) return;
  const size_t pieces = (words + kPieceMost - 1) / kPieceMost;
  if (used_ + words > most_words_ || pieces_.size() + pieces > most_pieces_)
    throw std::runtime_error("a step sends more than its outbox holds");
  for (size_t first = 0; first < words; first += kPieceMost) {
    OutboxPiece piece{};
    piece.to = reinterpret_cast<uint64_t>(to + first);
    piece.from = uint32_t(used_ + first);
    piece.words = uint32_t(std::min(kPieceMost, words - first));
    pieces_.push_back(piece);
  }
  memcpy(&words_[used_], from, words * sizeof(uint32_t));
  used_ += words;
}

void Outbox::send() {
  if (pieces_.empty()) return;
  memcpy(&words_[used_], pieces_.data(), pieces_.size() * sizeof(OutboxPiece));
  const size_t bytes = used_ * sizeof(uint32_t) + pieces_.size() * sizeof(OutboxPiece);
  device_.upload(sent_.data(), words_.data(), bytes);
  sent_bytes_ += int64_t(bytes);
  const int pieces = int(pieces_.size());
  launched(SKV_LAUNCH(outbox_kernel, dim3(ceil_div(pieces, kOutboxThreads / 32)), kOutboxThreads, 0, device_.stream(),
                      static_cast<const uint32_t*>(sent_.data()), int64_t(used_), pieces));
  pieces_.clear();
  used_ = 0;
}

}  // namespace skv
