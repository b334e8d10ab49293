// Checked memory of the emulation. Every word that a kernel may touch has a cell with who wrote and who read it last,
// and when: in which launch, block, stretch between two barriers of the block, and stretch between two __syncwarp of
// the warp. An access that no barrier orders after another thread's is a race; so is one beside another block's.
// Blocks meet at counters: the last one to arrive comes after what the others did before.
// An index outside its array, and a shared word read before it was written, are errors too.
#pragma once
#include <type_traits>

#include "threads.hpp"

namespace emulate {

constexpr uint16_t kMany = 0xffff, kAtomic = 0xfffe,
                   kWarp = 0x8000;  // instead of a thread: several, of one warp | warp
constexpr uint32_t kManyBlocks = ~0u;

struct Region {
  uint8_t* base;
  size_t bytes;
  std::string name;
  Cell* cells;  // one for four bytes
};

inline std::vector<Region> regions;

inline Stamp stamp() {
  const Machine& m = machine;
  Stamp now;
  now.launch = m.launch;
  now.block = m.block_number;
  now.epoch = m.epoch;
  now.thread = uint16_t(m.now);
  now.warp_epoch = uint16_t(current().warp_epoch);
  return now;
}

// Whether this thread's access now comes after `before` on any machine.
inline bool comes_after(const Stamp& before, const Stamp& now, bool atomic) {
  if (before.launch != now.launch) return true;
  if (before.thread == kAtomic && atomic) return true;
  if (before.block != now.block) {
    for (const Arrival& each : machine.seen)
      if (each.block == before.block && before.epoch < each.epoch) return true;
    return false;
  }
  if (before.epoch != now.epoch) return true;
  if (before.thread == kMany || before.thread == kAtomic) return false;
  if (before.thread == now.thread) return true;
  const int warp = before.thread & kWarp ? before.thread & ~kWarp : before.thread / 32;
  return warp == now.thread / 32 && before.warp_epoch < now.warp_epoch;
}

[[noreturn]] inline void race(const Stamp& other, bool wrote, bool writes, const char* array, int64_t index,
                              Place place) {
  char who[64];
  if (other.block != machine.block_number)
    snprintf(who, sizeof who, "another block");
  else if (other.thread == kMany)
    snprintf(who, sizeof who, "several threads");
  else if (other.thread == kAtomic)
    snprintf(who, sizeof who, "an atomic");
  else if (other.thread & kWarp)
    snprintf(who, sizeof who, "lanes of warp %d", other.thread & ~kWarp);
  else
    snprintf(who, sizeof who, "thread %d", other.thread);
  fail(place, "race: it %s %s[%lld], which %s %s with no barrier between", writes ? "writes" : "reads", array,
       (long long)index, who, wrote ? "wrote" : "read");
}

inline void note_read(Cell& c, const char* array, int64_t index, Place place) {
  const Stamp now = stamp();
  if (!comes_after(c.write, now, false)) race(c.write, true, false, array, index, place);
  Stamp& r = c.read;
  if (r.launch != now.launch)
    r = now;
  else if (r.block != now.block)
    r.block = kManyBlocks;
  else if (r.epoch != now.epoch)
    r = now;
  else if (r.thread != now.thread && r.thread != kMany) {
    const int warp = r.thread & kWarp ? r.thread & ~kWarp : r.thread / 32;
    r.thread = warp == now.thread / 32 ? uint16_t(kWarp | warp) : kMany;
    r.warp_epoch = now.warp_epoch > r.warp_epoch ? now.warp_epoch : r.warp_epoch;
  } else if (r.thread == now.thread) {
    r.warp_epoch = now.warp_epoch;
  }
}

inline void note_write(Cell& c, const char* array, int64_t index, Place place, bool atomic = false) {
  Stamp now = stamp();
  if (!comes_after(c.write, now, atomic)) race(c.write, true, true, array, index, place);
  if (!comes_after(c.read, now, false)) race(c.read, false, true, array, index, place);
  if (atomic) now.thread = kAtomic;
  c.write = now;
}

struct At {  // an index, and the line that has it
  int64_t i;
  Place place;
  At(int64_t i, const char* file = __builtin_FILE(), int line = __builtin_LINE()) : i(i) {
    place.file = file;
    place.line = line;
  }
};

// What an array's view knows: enough to check an index and to name it.
struct Array {
  const char* name;
  Cell* cells;
  int64_t count;   // elements
  int64_t offset;  // of the view within the array
  bool shared;
};

// An element: reading converts, writing assigns.
template <class T>
struct Ref {
  T* at;
  Cell* cell;
  const Array* array;
  int64_t index;
  Place place;
  using Value = std::remove_const_t<T>;

  operator Value() const {
    for (size_t w = 0; w < sizeof(T) / 4; w++) {
      if (array->shared && (cell[w].write.launch != machine.launch || cell[w].write.block != machine.block_number))
        fail(place, "it reads %s[%lld] before anything is written there", array->name, (long long)index);
      note_read(cell[w], array->name, index, place);
    }
    return *at;
  }
  Ref& operator=(const Value& value) {
    for (size_t w = 0; w < sizeof(T) / 4; w++) note_write(cell[w], array->name, index, place);
    *const_cast<Value*>(at) = value;
    return *this;
  }
  Ref& operator=(const Ref& other) { return *this = Value(other); }
  Ref& operator+=(const Value& value) { return *this = Value(*this) + value; }
  Ref& operator|=(const Value& value) { return *this = Value(*this) | value; }
};

template <class T>
class View {
 public:
  View() = default;
  View(T* base, const Array& array) : base_(base), array_(array) {
    static_assert(sizeof(T) % 4 == 0, "cells are four bytes");
  }
  template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
  View(const View<U>& other) : base_(other.base()), array_(other.array()) {}

  Ref<T> operator[](At at) const {
    const int64_t index = array_.offset + at.i;
    if (index < 0 || index >= array_.count)
      fail(at.place, "index %lld is outside %s[%lld]", (long long)index, array_.name ? array_.name : "nothing",
           (long long)array_.count);
    Ref<T> ref;
    ref.at = base_ + index;
    ref.cell = array_.cells + index * (int64_t)(sizeof(T) / 4);
    ref.array = &array_;
    ref.index = index;
    ref.place = at.place;
    return ref;
  }
  View operator+(int64_t n) const {
    View out = *this;
    out.array_.offset += n;
    return out;
  }
  T* base() const { return base_; }
  const Array& array() const { return array_; }
  template <class U>
  View<U> as() const {  // the same bytes as other words
    return View<U>((U*)base_, array_);
  }

 private:
  T* base_ = nullptr;
  Array array_{};
};

// The host tells which arrays kernels may touch; in a graph, again whenever it is launched.
inline void expose(const void* base, int64_t bytes, const char* name) {
  if (!base || bytes <= 0) return;
  if (auto* graph = kept) {
    kept_aside++;
    graph->push_back([=] {
      expose(base, bytes, name);
      return 0;
    });
    return;
  }
  for (Region& r : regions)
    if (r.base == base && (int64_t)r.bytes == bytes) return void(r.name = name);
  for (size_t i = 0; i < regions.size();)  // what lay there is gone
    if ((const uint8_t*)base < regions[i].base + regions[i].bytes && regions[i].base < (const uint8_t*)base + bytes) {
      free(regions[i].cells);
      regions.erase(regions.begin() + i);
    } else {
      i++;
    }
  regions.push_back({(uint8_t*)base, (size_t)bytes, name, (Cell*)calloc(size_t(bytes) / 4 + 1, sizeof(Cell))});
}

// What begins there is freed: whoever still names it is told.
inline void hide(const void* base) {
  for (size_t i = 0; i < regions.size(); i++)
    if (regions[i].base == base) {
      free(regions[i].cells);
      regions.erase(regions.begin() + i);
      return;
    }
}

// A view of the exposed array that holds `p`; indices may not leave that array.
template <class T>
View<T> global(T* p, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  static size_t lately[64];  // which array it was, by line: the threads of a block ask the same, one after another
  const auto holds = [&](const Region& r) { return (uint8_t*)p >= r.base && (uint8_t*)p < r.base + r.bytes; };
  size_t& at = lately[line % 64];
  if (at >= regions.size() || !holds(regions[at]))
    for (at = 0; at < regions.size() && !holds(regions[at]);) at++;
  if (at == regions.size()) fail({file, line}, "a pointer into no array that the host has named");
  const Region& r = regions[at];
  Array array;
  array.name = r.name.c_str();
  array.cells = r.cells;
  array.count = int64_t(r.bytes / sizeof(T));
  array.offset = ((uint8_t*)p - r.base) / (int64_t)sizeof(T);
  array.shared = false;
  return View<T>((T*)r.base, array);
}

}  // namespace emulate
