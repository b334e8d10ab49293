/**
 * How many warps of a kernel a multiprocessor holds at once. Limits: CUDA C++ Programming Guide 13.0, section "Compute
 * Capabilities", table "Technical Specifications per Compute Capability"; granularities: CUDA Occupancy Calculator.
 */

interface Limits {
  /** of a multiprocessor */
  warps: number;
  blocks: number;
  /** bytes of shared memory of a multiprocessor, and the most one block may have */
  shared: number;
  blockShared: number;
}

const limits: Record<number, Limits> = {
  80: { warps: 64, blocks: 32, shared: 164 << 10, blockShared: 163 << 10 },
  86: { warps: 48, blocks: 16, shared: 100 << 10, blockShared: 99 << 10 },
  89: { warps: 48, blocks: 24, shared: 100 << 10, blockShared: 99 << 10 },
  90: { warps: 64, blocks: 32, shared: 228 << 10, blockShared: 227 << 10 },
};

/** The same on every architecture above. */
const REGISTERS = 65_536; // 32-bit, of a multiprocessor
const REGISTER_UNIT = 256; // registers are given to a warp in these
const WARP_UNIT = 4; // warps are given registers in fours, one for each scheduler
const SHARED_UNIT = 128;
const RESERVED_SHARED = 1024; // of each block, for the system

export interface Occupancy {
  /** resident on a multiprocessor */
  blocks: number;
  warps: number;
  /** warps of the most possible, 0 … 1 */
  fraction: number;
  /** what keeps it from more */
  limit: 'registers' | 'shared memory' | 'warps' | 'blocks';
}

/** Undefined for an architecture whose limits are not listed. */
export function occupancy(
  arch: number,
  block: { threads: number; registers: number; shared: number },
): Occupancy | undefined {
  const most = limits[arch];
  if (!most) return undefined;
  const up = (value: number, unit: number) => Math.ceil(value / unit) * unit;
  const warps = Math.ceil(block.threads / 32);
  const perWarp = up(Math.max(block.registers, 1) * 32, REGISTER_UNIT);
  const registerWarps = Math.floor(REGISTERS / perWarp / WARP_UNIT) * WARP_UNIT;
  const perBlock = up(block.shared + RESERVED_SHARED, SHARED_UNIT);
  const bounds: [Occupancy['limit'], number][] = [
    ['warps', Math.floor(most.warps / warps)],
    ['blocks', most.blocks],
    ['registers', Math.floor(registerWarps / warps)],
    ['shared memory', block.shared > most.blockShared ? 0 : Math.floor(most.shared / perBlock)],
  ];
  const [limit, blocks] = bounds.reduce((least, each) => (each[1] < least[1] ? each : least));
  return { blocks, warps: blocks * warps, fraction: (blocks * warps) / most.warps, limit };
}
