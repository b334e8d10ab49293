/* Where attention runs. On the dense model's threads, a layer after the other; or beside them, on threads of its own
 * with the pages in this machine's memory, whatever computes the dense part: then a step has two halves (halves.h). */
#ifndef SKV_ATTENTION_H
#define SKV_ATTENTION_H
#include <memory>
#include <utility>

#include "attention_io.h"
#include "backend.h"
#include "halves.h"
#include "kv_cache.h"
#include "side_thread.h"
#include "threads.h"

namespace skv {

class Attention {
 public:
  /* shared: the dense model's threads, or null for threads of its own, as many as configured. buffers, io and shared
   * must outlive this. Throws std::runtime_error. */
  Attention(const skv_config& config, const skv_buffers& buffers, const AttentionIo& io, Threads* shared);

  /* Between steps. */
  KvCache& cache() { return *cache_; }
  const KvCache& cache() const { return *cache_; }

  /* Copies shared pages that a row will write; returns the step's halves. */
  Halves begin(const skv_step_counts& counts);
  /* q, k and v of the half's tokens are there, and may be overwritten once wait has returned. last_rows [rows] is what
   * the last layer is asked for. */
  void start(const Half& half, int layer, const skv_row* last_rows);
  /* Returns when out is there. Throws std::runtime_error for a policy that failed. */
  void wait(const Half& half);
  /* After the last layer. */
  void compact();

 private:
  /* Pages and tables are used by one thread. */
  template <class Work>
  void start_work(int place, Work&& work) {
    if (side_) return side_->start(place, std::forward<Work>(work));
    work();
  }
  void wait_for(int place) {
    if (side_) side_->wait(place);
  }
  template <class Work>
  void run(Work&& work) {
    start_work(0, work);
    wait_for(0);
  }

  const skv_buffers& buffers_;
  std::unique_ptr<Threads> own_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<SideThread> side_; /* worker 0 of own_; null where threads are shared. Last: it uses the others */
};

}  // namespace skv
#endif
