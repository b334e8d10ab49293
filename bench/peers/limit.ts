/**
 * The instruction sets that the peers may use. SKV_ISA holds skv to a lesser one than the machine has; what it is compared
 * with is held to the same, or a processor without AVX-512 could not be measured on one that has it.
 */
import { cpuBackend, native } from '../../runtime/native/index.ts';
import { UserError } from '../../toolchain/errors.ts';

const SSE = ['x64', 'sse42'];
const AVX2 = [...SSE, 'sandybridge', 'ivybridge', 'piledriver', 'haswell'];
const AVX512 = [...AVX2, 'alderlake', 'skylakex', 'cannonlake', 'cascadelake', 'icelake', 'cooperlake', 'zen4'];

/** ggml's builds for processors that have no more than each path of skv's needs, by the end of their files' names. */
const GGML_BUILDS: Record<string, readonly string[]> = {
  generic: SSE,
  avx2: AVX2,
  avxvnni: [...AVX2, 'alderlake'],
  avx512vnni: AVX512,
};

/** The path that skv is held to, where the machine has a better one. */
export function heldTo(): string | undefined {
  const asked = process.env.SKV_ISA;
  return asked && asked !== native().isas(cpuBackend())[0] ? asked : undefined;
}

/** The builds that ggml may choose from; undefined: all. */
export function ggmlBuilds(): readonly string[] | undefined {
  const isa = heldTo();
  if (!isa) return undefined;
  const builds = GGML_BUILDS[isa];
  if (!builds) throw new UserError(`Nothing is known of how to hold llama.cpp to SKV_ISA=${isa}: unset it.`);
  return builds;
}

/**
 * OpenVINO asks the processor itself: ONEDNN_MAX_CPU_ISA holds back half of it, and 2026.4 then finds no product that it
 * could use.
 */
export function needsNoLimit(system: string): void {
  const isa = heldTo();
  if (isa)
    throw new UserError(`${system} cannot be held to SKV_ISA=${isa}: measure it on a processor that has no more.`);
}
