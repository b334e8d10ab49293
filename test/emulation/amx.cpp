// AMX's instructions for a processor without: each ends in SIGILL there, and what Intel's manual says of it is done
// here, in plain loops. So a program that is linked to this runs what the compiler made, addresses and all. What the
// instructions refuse ends the process; so does any other that the processor does not know.
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cmath>
#include <ucontext.h>

namespace {

struct Shapes {  // as ldtilecfg reads them
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

struct Tiles {
  Shapes shapes;
  uint8_t data[8][16][64];
};
thread_local Tiles tiles;

void demand(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "AMX: %s\n", what);
  abort();
}

// Rows of a tile, and 32-bit words of a row.
int rows(int tile) {
  demand(tiles.shapes.palette == 1, "no tiles are configured");
  demand(tiles.shapes.rows[tile] > 0, "a tile has no shape");
  return tiles.shapes.rows[tile];
}
int words(int tile) { return tiles.shapes.row_bytes[tile] / 4; }

void configure(const void* from) {
  memcpy(&tiles.shapes, from, sizeof tiles.shapes);
  demand(tiles.shapes.palette == 1 && tiles.shapes.start_row == 0, "palette 1 from row 0 is what there is");
  for (const uint8_t each : tiles.shapes.reserved) demand(each == 0, "what is reserved must be 0");
  for (int i = 0; i < 16; i++) {
    const int most = i < 8 ? 16 : 0;
    demand(tiles.shapes.rows[i] <= most && tiles.shapes.row_bytes[i] <= 4 * most, "a tile is too large");
    demand(tiles.shapes.row_bytes[i] % 4 == 0, "rows are whole words");
    demand(!tiles.shapes.rows[i] == !tiles.shapes.row_bytes[i], "a tile has rows or bytes alone");
  }
  memset(tiles.data, 0, sizeof tiles.data);
}

void zero(int tile) {
  demand(rows(tile) > 0, "");
  memset(tiles.data[tile], 0, sizeof tiles.data[tile]);
}

void load(int tile, const uint8_t* from, int64_t stride) {
  zero(tile);
  for (int r = 0; r < rows(tile); r++) memcpy(tiles.data[tile][r], from + r * stride, 4 * words(tile));
}

void store(int tile, uint8_t* to, int64_t stride) {
  for (int r = 0; r < rows(tile); r++) memcpy(to + r * stride, tiles.data[tile][r], 4 * words(tile));
}

void check_product(int to, int a, int b) {
  demand(to != a && to != b && a != b, "tiles of a product must differ");
  demand(rows(to) == rows(a) && words(to) == words(b) && words(a) == rows(b), "shapes of a product do not fit");
}

template <class T>
T* row_of(int tile, int row) {
  return (T*)tiles.data[tile][row];
}

// tdpbsud: signed bytes of a, unsigned ones of b.
void dot_bytes(int to, int a, int b) {
  check_product(to, a, b);
  for (int m = 0; m < rows(to); m++)
    for (int k = 0; k < words(a); k++)
      for (int n = 0; n < words(to); n++)
        for (int i = 4 * k; i < 4 * k + 4; i++)
          row_of<int32_t>(to, m)[n] += row_of<int8_t>(a, m)[i] * row_of<uint8_t>(b, k)[4 * n + i % 4];
}

// A number that is too small for its exponent, as 0 of its sign.
float flushed(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

float of_bf16(uint16_t word) {
  const uint32_t bits = (uint32_t)word << 16;
  float x;
  memcpy(&x, &bits, sizeof x);
  return flushed(x);
}

// tdpbf16ps: fused multiply-adds, of even elements and of odd ones, then both sums to each other and to the tile's.
void dot_bf16(int to, int a, int b) {
  check_product(to, a, b);
  for (int m = 0; m < rows(to); m++)
    for (int n = 0; n < words(to); n++) {
      float sums[2] = {0, 0};
      for (int k = 0; k < words(a); k++)
        for (int i = 0; i < 2; i++) {
          const float x = of_bf16(row_of<uint16_t>(a, m)[2 * k + i]), y = of_bf16(row_of<uint16_t>(b, k)[2 * n + i]);
          sums[i] = flushed(std::fma(x, y, sums[i]));
        }
      float* sum = row_of<float>(to, m) + n;
      *sum = flushed(flushed(*sum) + flushed(sums[0] + sums[1]));
    }
}

// An instruction of three bytes of VEX in the map 0F38, as far as AMX has such.
struct Instruction {
  int prefix, opcode, reg, rm, vvvv, bytes;
  bool in_memory;
  uint8_t* address;  // without the index
  int64_t stride;    // the index
};

int64_t general(const ucontext_t* at, int number) {
  static constexpr int kOrder[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                     REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return at->uc_mcontext.gregs[kOrder[number]];
}

// Where the operand in memory lies: ModRM at code[4], perhaps SIB, perhaps a displacement.
void find_address(const ucontext_t* at, const uint8_t* code, int mode, Instruction* of) {
  const int high = ~code[1], index_high = high >> 6 & 1, base_high = high >> 5 & 1;
  int end = 5, base = of->rm;
  of->stride = 0;
  if (of->rm == 4) {
    const uint8_t sib = code[end++];
    base = sib & 7;
    const int index = (sib >> 3 & 7) | index_high << 3;
    if (index != 4) of->stride = general(at, index) << (sib >> 6);
  }
  int32_t displacement = 0;
  const bool nowhere = mode == 0 && base == 5;
  if (mode == 1) displacement = (int8_t)code[end++];
  if (mode == 2 || nowhere) {
    memcpy(&displacement, code + end, 4);
    end += 4;
  }
  of->bytes = end;
  int64_t from = nowhere ? 0 : general(at, base | base_high << 3);
  if (nowhere && of->rm != 4) from = (int64_t)code + end;  // relative to the next instruction
  of->address = (uint8_t*)(from + displacement);
}

Instruction read(const ucontext_t* at, const uint8_t* code) {
  Instruction of = {};
  of.prefix = code[2] & 3;  // none, 66, F3, F2
  of.opcode = code[3];
  of.reg = code[4] >> 3 & 7;
  of.rm = code[4] & 7;
  of.vvvv = ~code[2] >> 3 & 7;
  of.in_memory = code[4] >> 6 != 3;
  of.bytes = 5;
  if (of.in_memory) find_address(at, code, code[4] >> 6, &of);
  return of;
}

bool execute(const Instruction& of) {
  const auto is = [&](int opcode, int prefix, bool in_memory) {
    return of.opcode == opcode && of.prefix == prefix && of.in_memory == in_memory;
  };
  if (is(0x49, 0, true))
    configure(of.address);
  else if (is(0x49, 0, false))
    tiles.shapes.palette = 0;
  else if (is(0x49, 3, false))
    zero(of.reg);
  else if (is(0x4b, 3, true))
    load(of.reg, of.address, of.stride);
  else if (is(0x4b, 2, true))
    store(of.reg, of.address, of.stride);
  else if (is(0x5e, 2, false))
    dot_bytes(of.reg, of.rm, of.vvvv);
  else if (is(0x5c, 2, false))
    dot_bf16(of.reg, of.rm, of.vvvv);
  else
    return false;
  return true;
}

void on_illegal(int, siginfo_t*, void* context) {
  auto* at = (ucontext_t*)context;
  const auto* code = (const uint8_t*)at->uc_mcontext.gregs[REG_RIP];
  if (code[0] == 0xc4 && (code[1] & 0x1f) == 2 && !(code[2] & 0x84)) {
    const Instruction of = read(at, code);
    if (execute(of)) {
      at->uc_mcontext.gregs[REG_RIP] += of.bytes;
      return;
    }
  }
  fprintf(stderr, "no instruction of this processor, nor of AMX: %02x %02x %02x %02x %02x\n", code[0], code[1], code[2],
          code[3], code[4]);
  abort();
}

struct Installed {
  Installed() {
    struct sigaction action = {};
    action.sa_sigaction = on_illegal;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGILL, &action, nullptr);
  }
} installed;

}  // namespace
