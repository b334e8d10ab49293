/** Pictures of what one request holds: small enough to send several times a second, whatever its length, or whole. */
import { ruleNames } from '../../codegen/ir/profile.ts';
import type { Plan } from '../../codegen/plan/types.ts';
import type { Sequence } from './sequence.ts';
import type { CacheView, CompactionEvent, HeadView, RequestView } from './types.ts';

/** Most bins that a head's positions are counted in. */
const BINS = 256;

/** `lanes`: a head's words, the positions first, then its states' as f32; `first`: positions before it are not looked at. */
function headView(lanes: readonly Int32Array[], length: number, width: number, first: number): HeadView {
  const [positions, ...words] = lanes;
  const bins = Math.ceil(length / width);
  const kept = new Array<number>(bins).fill(0);
  const values = words.map((lane) => new Float32Array(lane.buffer, lane.byteOffset, lane.length));
  const states = values.map(() => new Array<number>(bins).fill(0));
  let slots = 0;
  positions.forEach((pos, slot) => {
    if (pos < first) return;
    const bin = Math.floor(pos / width);
    slots++;
    for (const [s, list] of states.entries()) {
      const value = Number(values[s][slot].toPrecision(4));
      list[bin] = kept[bin] ? Math.max(list[bin], value) : value;
    }
    kept[bin]++;
  });
  return { slots, kept, states };
}

const widthOf = (length: number): number => Math.max(1, Math.ceil(length / BINS));

/** Words of one lane of a head's slots, in slot order. */
export type ReadLane = (layer: number, head: number, lane: number) => Int32Array;

/** The lane of a state, which lie last. */
export const laneOf = ({ lanes }: Plan, state: string): number => lanes.lastIndexOf(state);

/** `windows`: of each layer, 0 where there is none. */
interface Heads {
  windows: readonly number[];
  kvHeads: number;
}

/** What a sequence that runs holds now. */
export function cacheView(
  { rules: { plan }, prompt, computed: length, compactions }: Sequence,
  { windows, kvHeads }: Heads,
  read: ReadLane,
): CacheView {
  const width = widthOf(length);
  const states = plan.states.map((state) => state.name);
  const lanes = [0, ...states.map((state) => laneOf(plan, state))];
  const heads = windows.map((window, layer) =>
    Array.from({ length: kvHeads }, (_, head) => {
      const words = lanes.map((lane) => read(layer, head, lane));
      return headView(words, length, width, window ? length - window : 0);
    }),
  );
  return { policy: plan.name, prompt, length, compactions, width, states, heads };
}

/** What a sequence keeps after a compaction. `taken`: the rules of its heads, of layers without a window, in order. */
export function compactionOf(
  { rules, computed: at }: Sequence,
  { windows, kvHeads }: Heads,
  taken: Iterator<number>,
  read: ReadLane,
): CompactionEvent {
  const { plan } = rules;
  const ofHeads = <T>(of: (layer: number, head: number) => T): T[][] =>
    windows.map((_, layer) => Array.from({ length: kvHeads }, (_, head) => of(layer, head)));
  const kept = ofHeads((layer, head) => {
    const positions = [...read(layer, head, 0)].sort((a, b) => a - b);
    const window = windows[layer];
    return window ? positions.filter((pos) => pos > at - window) : positions;
  });
  const values = rules.params(at);
  const params = Object.fromEntries(plan.params.map(({ name }, i) => [name, Number(values[i].toPrecision(7))]));
  if (plan.keep.kind !== 'profile') return { at, kept, params };
  const names = ruleNames(plan.keep);
  return { at, kept, params, rules: ofHeads((layer) => (windows[layer] ? '' : names[taken.next().value!])) };
}

export const requestView = (sequence: Sequence): RequestView => ({
  policy: sequence.rules.plan.name,
  running: sequence.slot >= 0,
  prompt: sequence.prompt,
  computed: sequence.computed,
  generated: sequence.generated,
  pages: sequence.extent.pages,
  compactions: sequence.compactions,
});
