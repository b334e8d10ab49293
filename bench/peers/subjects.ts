/** The systems under test: what each is called, and how its process starts. */
import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UserError } from '../../toolchain/errors.ts';
import { Child } from '../child.ts';
import { KEPT, costed } from '../costed.ts';
import { compiled } from '../helper.ts';
import { type Format, requantise } from '../requantise.ts';
import type { Setup } from './protocol.ts';
import type { SkvSetup } from './skv.ts';
import { ggmlBuilds, needsNoLimit } from './limit.ts';
import { startSkv } from './start.ts';
import { int8Model, openvinoPython } from './venv.ts';

const here = dirname(fileURLToPath(import.meta.url));

/** What a phase of the run gives every system. */
export interface Common {
  /** the model's GGUF file */
  model: string;
  tokens: string;
  cores: number[];
  sequences: number;
  context: number;
  /** bytes of keys and values in all, for the phase in which memory is short */
  pool?: number;
  bytesPerToken: number;
}

export interface Subject {
  name: string;
  maker: 'skv' | 'llama.cpp' | 'OpenVINO';
  /** comparable in quality with skv on the default file: 8-bit weights, 16-bit keys and values, pinned */
  matched?: boolean;
  evicts?: boolean;
  /** can run with a fixed pool */
  pools?: boolean;
  /** asked for by the phases that name what it does, left out of the others */
  aside?: boolean;
  /** thins a prompt while it is read: measured where memory is short */
  thins?: boolean;
  start(common: Common, progress: (line: string) => void): Promise<Child>;
}

const base = ({ model, tokens, cores, sequences, context }: Common): Setup => ({
  model,
  tokens,
  cpus: cores,
  threads: cores.length,
  sequences,
  context,
});

/** Starts a process and waits until it has its model. */
async function ready(child: Child): Promise<Child> {
  await child.hear<{ ready: string }>();
  return child;
}

/** A file of another system's driver: the package leaves them out. */
function driver(file: string): string {
  const path = join(here, file);
  if (!existsSync(path))
    throw new UserError('Other systems are measured from a clone of skv, which has their drivers.');
  return path;
}

function skv(
  name: string,
  more: Pick<SkvSetup, 'policy' | 'ratio' | 'params'>,
  place: Pick<Subject, 'aside' | 'thins'> = {},
): Subject {
  return {
    ...place,
    name,
    maker: 'skv',
    evicts: more.policy !== 'none',
    pools: true,
    start: async (common) => (await startSkv(name, { ...base(common), ...more, pool: common.pool })).child,
  };
}

let clocks = 0;
let clockFolder: string | undefined;

function llama(format: Format | 'as it is', pinned: boolean, label: string): Subject {
  const name = `llama.cpp ${label}${pinned ? ', pinned' : ''}`;
  return {
    name,
    maker: 'llama.cpp',
    matched: format === 'Q8_0' && pinned,
    start: async (common) => {
      const source = driver('llama-preload.cpp');
      const model = format === 'as it is' ? common.model : requantise(common.model, format);
      const preload = compiled('llama', [source], ['-O2', '-std=c++17', '-shared', '-fPIC', '-ldl']);
      if (!clockFolder) {
        const made = (clockFolder = mkdtempSync(join(tmpdir(), 'skv-peer-')));
        process.on('exit', () => rmSync(made, { recursive: true, force: true }));
        symlinkSync(preload, join(made, 'preload.so')); // LD_PRELOAD takes a blank for the end of a name
      }
      const env = {
        LD_PRELOAD: join(clockFolder, 'preload.so'),
        SKV_PEER_CLOCK: join(clockFolder, `clock-${clocks++}`),
        SKV_PEER_CPUS: pinned ? common.cores.join(',') : '',
        SKV_PEER_LIBRARIES: ggmlBuilds()?.join(',') ?? '',
      };
      return ready(Child.script(name, driver('llama.ts'), { ...base(common), model }, env));
    },
  };
}

/** Start, recent and most tokens as OpenVINO's documentation has them; its window of SnapKV included. */
const EVICT = { start: 32, recent: 128, max: 672, snapkv: 8 };

function openvino(name: string, weights: 'int8' | 'as it is', kv: 'f16' | 'u8', evict: typeof EVICT | null): Subject {
  return {
    name,
    maker: 'OpenVINO',
    matched: weights === 'int8' && kv === 'f16',
    evicts: evict !== null,
    pools: true,
    start: async (common, progress) => {
      const genai = driver('genai.py');
      needsNoLimit('OpenVINO');
      const python = await openvinoPython(progress);
      const model = weights === 'int8' ? await int8Model(common.model, python, progress) : common.model;
      const blocks = common.pool ? Math.floor(common.pool / (32 * common.bytesPerToken)) : 0;
      const setup = { ...base(common), model, kv, evict, blocks };
      return ready(Child.start(name, python, [genai, JSON.stringify(setup)]));
    },
  };
}

/** A shipped policy thinned to the common number of slots. */
const thinned = (policy: string, place?: Pick<Subject, 'aside' | 'thins'>): Subject =>
  skv(`skv, ${policy} ${KEPT}`, costed(policy, 0), place);

/** In the order of the table. `own` names the model's file format. */
export const subjects = (own: string): Subject[] => [
  skv('skv', { policy: 'none' }),
  skv('skv, h2o 20 %', { policy: 'h2o', ratio: 0.2 }, { aside: true }),
  thinned('h2o'),
  skv(
    `skv, h2o ${KEPT}, block 128`,
    { policy: 'h2o', params: { ...costed('h2o', 0).params, block: 128 } },
    { aside: true, thins: true },
  ),
  thinned('snapkv', { aside: true }),
  thinned('chunkkv', { aside: true }),
  thinned('keydiff', { aside: true, thins: true }),
  llama('Q8_0', true, 'Q8_0'),
  llama('Q8_0', false, 'Q8_0'),
  llama('Q4_0', true, 'Q4_0'),
  llama('as it is', true, own),
  llama('as it is', false, own),
  openvino('OpenVINO int8', 'int8', 'f16', null),
  openvino('OpenVINO int8, u8 KV', 'int8', 'u8', null),
  openvino('OpenVINO int8, evicting to 672', 'int8', 'f16', EVICT),
  openvino(`OpenVINO ${own}`, 'as it is', 'f16', null),
];
