/* AMX's tiles, for whoever multiplies with them: dense products (runtime/native/cpu/matmul_amx.cpp) and attention
 * (templates/cpu/products_amx.hpp).
 *
 * The instructions by themselves, for GCC 12's functions do not say what memory they read: a store to it may be moved
 * behind them, or left out. Numbers of tiles are constants. */
#ifndef SKV_AMX_H
#define SKV_AMX_H
#include <stddef.h>
#include <stdint.h>

/* Whether a file is compiled for tiles, and for a system that can be asked for them. clang up to 15 has a name of its
 * own. */
#if (defined(__AMX_TILE__) || defined(__AMXTILE__)) && defined(__x86_64__) && defined(__linux__)
#define SKV_FOR_TILES
#endif

/* What ldtilecfg reads: of each of eight tiles how many rows it has (up to 16) and how many bytes a row (up to 64). */
struct alignas(64) skv_tile_shapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
  void set(int tile, int tile_rows, int bytes) {
    rows[tile] = uint8_t(tile_rows);
    row_bytes[tile] = uint16_t(bytes);
  }
};

#define SKV_TILE inline __attribute__((always_inline)) void
SKV_TILE skv_tiles_configure(const skv_tile_shapes* shapes) { asm volatile("ldtilecfg %0" ::"m"(*shapes)); }
SKV_TILE skv_tiles_release() { asm volatile("tilerelease"); }
template <int tile>
SKV_TILE skv_tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(tile));
}
/* Rows `stride` bytes apart. */
template <int tile>
SKV_TILE skv_tile_load(const void* from, size_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(tile) : "memory");
}
template <int tile>
SKV_TILE skv_tile_store(void* to, size_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(tile) : "memory");
}
/* sum += a . b in 32 bits: signed bytes of a's rows by unsigned ones of b, whose row k holds four of each column. */
template <int sum, int a, int b>
SKV_TILE skv_tile_dot_bytes() {
  asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sum), "i"(a), "i"(b));
}
/* sum += a . b in f32: bf16 of a's rows by those of b, whose row k holds two of each column. Even products are added
 * one after the other, and odd ones, from 0 each; then the two to each other, and what that makes to the sum.
 * Denormals are 0. */
template <int sum, int a, int b>
SKV_TILE skv_tile_dot_bf16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sum), "i"(a), "i"(b));
}
#undef SKV_TILE

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Products of bf16, of bytes: what CPUID says of them. */
constexpr unsigned SKV_TILES_OF_BF16 = 1u << 22, SKV_TILES_OF_BYTES = 1u << 25;

/* Whether the processor has such products. */
inline bool skv_knows_tiles(unsigned products) {
  constexpr unsigned kTiles = 1u << 24;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & products) && (d & kTiles);
}

/* Whether the system lets this process use tiles, which it must be asked. */
inline bool skv_may_use_tiles() {
  constexpr long kAskForState = 0x1023, kTileData = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
  return syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
}

/* Whether tiles can be used: both, or tests have test/emulation/amx.cpp do what the processor cannot. Where it can, it
 * is asked all the same: its instructions run as soon as they are allowed, and then no emulation sees them. */
inline bool skv_has_tiles(unsigned products) {
#if defined(SKV_EMULATE_AMX)
  constexpr bool kEmulated = true;
#else
  constexpr bool kEmulated = false;
#endif
  return (skv_knows_tiles(products) && skv_may_use_tiles()) || kEmulated;
}

/* Why a processor's tiles are not used, by a text that a compiler made which knows them or does not; null: they are, or
 * there are none. */
inline const char* skv_tiles_refused(unsigned products, bool compiled) {
  if (!skv_knows_tiles(products)) return nullptr;
  if (!compiled) return "the compiler that skv was built with does not know it";
  return skv_may_use_tiles() ? nullptr : "Linux does not let this process use its tiles (arch_prctl)";
}
#endif
#endif
