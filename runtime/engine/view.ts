/** A picture of what one request holds: small enough to send several times a second, whatever its length. */
import type { Plan } from '../../codegen/plan/types.ts';
import type { Sequence } from './sequence.ts';
import type { CacheView, HeadView, RequestView } from './types.ts';

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
type ReadLane = (layer: number, head: number, lane: number) => Int32Array;

/** The lane of a state, which lie last. */
export const laneOf = ({ lanes }: Plan, state: string): number => lanes.lastIndexOf(state);

/** What a sequence that runs holds now. `windows`: of each layer, 0 where there is none. */
export function cacheView(
  { rules: { plan }, prompt, computed: length, compactions }: Sequence,
  { windows, kvHeads }: { windows: readonly number[]; kvHeads: number },
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

export const requestView = (sequence: Sequence): RequestView => ({
  policy: sequence.rules.plan.name,
  running: sequence.slot >= 0,
  prompt: sequence.prompt,
  computed: sequence.computed,
  generated: sequence.generated,
  pages: sequence.extent.pages,
  compactions: sequence.compactions,
});
