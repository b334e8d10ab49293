/* What a step sends to the device: words for places in its arrays, whatever they are, in one copy out of pinned memory
 * and one launch that puts each where it belongs. What does not change is not sent. */
#ifndef SKV_CUDA_OUTBOX_H
#define SKV_CUDA_OUTBOX_H
#include <vector>

#include "device.h"

/* Some of the words that were sent: where they go, where they begin in what was sent, and how many they are. */
struct OutboxPiece {
  uint64_t to;
  uint32_t from, words;
};

namespace skv {

class Outbox {
 public:
  /* The most that is put before it is sent: words, and calls of put. device must outlive this. */
  Outbox(Device& device, size_t words, size_t puts);

  /* n elements of 32-bit words, read at once: `from` may change. */
  template <class T>
  void put(T* to, const T* from, size_t n) {
    static_assert(sizeof(T) % sizeof(uint32_t) == 0, "words");
    put_words(reinterpret_cast<uint32_t*>(to), reinterpret_cast<const uint32_t*>(from), n * sizeof(T) / 4);
  }
  /* Queued; what was put before must not be put again until the device has been waited for. */
  void send();
  /* So far. */
  int64_t sent_bytes() const { return sent_bytes_; }

 private:
  void put_words(uint32_t* to, const uint32_t* from, size_t words);

  Device& device_;
  const size_t most_words_, most_pieces_;
  HostArray<uint32_t> words_; /* what is sent: words of all pieces, then the pieces */
  DeviceArray<uint32_t> sent_;
  std::vector<OutboxPiece> pieces_;
  size_t used_ = 0;
  int64_t sent_bytes_ = 0;
};

}  // namespace skv
#endif
