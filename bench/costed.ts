/** What policies are compared with: parameters by which each shipped one keeps so many slots a head while it generates. */

/** Slots of a head, as a mean over the tokens that are generated. */
export const KEPT = 672;

/** A policy for a comparison. `length`: of its prompt, where that is not the common one. */
export interface Costed {
  policy: string;
  params?: Record<string, number>;
  length?: number;
}

/** Of policies that compact at the prompt's end alone: the slots grow while `steps` tokens are generated. */
const once = (steps: number) => ({ budget: KEPT - steps / 2 });

const parameters: Record<string, (steps: number) => Omit<Costed, 'policy'>> = {
  none: () => ({}),
  streaming: () => ({ params: { budget: KEPT } }),
  h2o: () => ({ params: { budget: KEPT, recent: 128 } }),
  tova: () => ({ params: { budget: KEPT } }),
  snapkv: (steps) => ({ params: once(steps) }),
  pyramidkv: (steps) => ({ params: once(steps) }),
  adakv: (steps) => ({ params: once(steps) }),
  adasnapkv: (steps) => ({ params: once(steps) }),
  chunkkv: (steps) => ({ params: once(steps) }),
  knorm: () => ({ params: { budget: KEPT } }),
  keydiff: () => ({ params: { budget: KEPT } }),
  vatp: () => ({ params: { budget: KEPT, recent: 128 } }),
  a2sf: () => ({ params: { budget: KEPT } }),
  // half of what is full is dropped at once, and comes again while the base grows as much
  scissorhands: (steps) => ({ params: { budget: KEPT - steps / 2, drop: steps } }),
  // its prompt stays
  randomattn: () => ({ params: { budget: 64, every: 63 }, length: KEPT - 64 - 32 }),
  vase: () => ({ params: { budget: KEPT - 32, recent: 64, large: 320 } }),
  lagkv: () => ({ params: { budget: KEPT - 64, lag: 128 } }),
  // heads rank all slots at each compaction and keep them: as many as the base has, by rules that do the work of smaller ones
  fastgen: (steps) => ({ params: { recovers: 0.9999, frequent: 1 }, length: KEPT - steps / 2 }),
  // a tenth of the heads keeps everything, of the default model's table and of about 4,300 tokens
  duo: () => ({ params: { full: 0.9, sinks: 16, recent: 245 } }),
};

export const costedNames = Object.keys(parameters).filter((name) => name !== 'none');

export const costed = (policy: string, steps: number): Costed => ({ policy, ...parameters[policy](steps) });
