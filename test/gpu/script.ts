/** What the engine would ask of one policy for a few sequences, step by step, as problems for the drivers. */
import type { Plan } from '../../codegen/plan/types.ts';
import { MAX_PARAMS, TokenClass } from '../../runtime/contract/records.ts';
import { Rules } from '../../runtime/engine/rules.ts';
import { normals } from '../kernels/dense.ts';
import { random } from '../../codegen/oracle/random.ts';
import type { Read, Row, Shape, Step } from '../kernels/driver.ts';

export interface Request {
  /** step at which it joins */
  start: number;
  prompt: number;
  /** most prompt tokens of a step */
  chunk: number;
  decode: number;
}

/** Numbers as the target keeps them: then pages and products hold exactly what the problem says, whatever the type. */
export interface Rounding {
  /** keys and values in a page */
  stored(x: number): number;
  /** queries, which attention scales and rounds once more */
  query(x: number): number;
}

/** Of twelve tokens one is special and one punctuation. */
const CLASSES = [TokenClass.special, TokenClass.punctuation];

/** Steps of all requests, one row each while it has work, and reads of every head when a request ends. */
export function script(
  plan: Plan,
  given: Record<string, number>,
  shape: Shape,
  requests: readonly Request[],
  seed: number,
  round: Rounding,
): (Step | Read)[] {
  const next = random(seed);
  const rules = new Rules(plan, given, undefined, Array<number>(shape.layers).fill(0));
  const states = requests.map((request) => ({
    ...request,
    computed: 0,
    live: new Array<number>(shape.layers).fill(0),
  }));
  const ops: (Step | Read)[] = [];
  const unfinished = () => states.filter(({ computed, prompt, decode }) => computed < prompt + decode);
  for (let step = 0; unfinished().length > 0; step++) {
    const budgets = new Array<number>(shape.seqs * shape.layers).fill(0);
    const params = new Float32Array(shape.seqs * MAX_PARAMS);
    const rows: Row[] = [];
    const ended: number[] = [];
    states.forEach((state, seq) => {
      const { start, prompt, chunk, decode, computed, live } = state;
      if (step < start || computed >= prompt + decode) return;
      const own = new Int32Array(shape.layers);
      const over = (tokens: number) => Math.max(...live.map((slots, layer) => slots + tokens - own[layer]));
      const budgetsAt = (n: number) => rules.budgets(n, own, rules.besides ? rules.protects(prompt, n) : 0);
      budgetsAt(computed);
      const room = computed < prompt ? Math.min(chunk, prompt - computed) : 1;
      const tokens = Math.min(room, rules.until(computed, prompt, over(0)));
      const length = computed + tokens;
      budgetsAt(length);
      const compact = rules.compacts(length, prompt, over(tokens));
      const { first, last } = rules.window(length);
      rows.push({
        seq,
        tokens,
        pos0: computed,
        prompt,
        observe: observed(plan, rules.observeLast(prompt), prompt, computed, length),
        observeLast: rules.observeLast(prompt),
        compact,
        window: [first, last],
        seed: [seq + 1, seed],
      });
      params.set(rules.paramsAt(length, prompt), seq * MAX_PARAMS);
      own.forEach((budget, layer) => {
        budgets[seq * shape.layers + layer] = budget;
        live[layer] += tokens;
        if (compact) live[layer] = Math.min(live[layer], Math.max(budget, first + last));
      });
      state.computed = length;
      if (length === prompt + decode) ended.push(seq);
    });
    const count = rows.reduce((sum, { tokens }) => sum + tokens, 0);
    const values = (heads: number) => normals(next, count * heads * shape.headDim);
    if (rows.length === 0) continue;
    const layers = Array.from({ length: shape.layers }, () => ({
      q: values(shape.kvHeads * shape.group).map(round.query),
      k: values(shape.kvHeads).map(round.stored),
      v: values(shape.kvHeads).map(round.stored),
    }));
    const classes = Array.from({ length: plan.reads.classes ? count : 0 }, () => CLASSES[Math.floor(next() * 12)] ?? 0);
    ops.push({ rows, layers, budgets, params, classes });
    for (const seq of ended)
      for (let layer = 0; layer < shape.layers; layer++)
        for (let head = 0; head < shape.kvHeads; head++) ops.push({ seq, layer, head });
  }
  return ops;
}

/** Queries in [from, to) that the policy observes, as the scheduler has it. */
function observed(plan: Plan, last: number, prompt: number, from: number, to: number): [number, number] {
  if (from >= prompt) return plan.observe.decode ? [from, to] : [0, 0];
  if (plan.observe.prompt === 'none') return [0, 0];
  const first = plan.observe.prompt === 'every' ? from : Math.max(from, prompt - last);
  return first < to ? [first, to] : [0, 0];
}
