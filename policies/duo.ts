import { above, definePolicy, every, number, tokens } from 'skv';
import table from './duo.json' with { type: 'json' };

/**
 * DuoAttention: heads that look far back keep everything, the others attention sinks and the most recent tokens.
 * Xiao et al. 2024, arXiv:2410.10819. `table.gates` has a number from 0 to 1 for each layer and KV head; those above `full`
 * keep everything, so that the part 1 - full of the heads does. The table is of one model: `skv table duo` makes another.
 * Deviations: gates are measured on a text (see there), the authors train them; a head's window grows by up to 16 between two
 * compactions.
 */
export default definePolicy({
  name: 'duo',
  params: { full: number(0.5, { min: 0, max: 1 }), sinks: tokens(128), recent: tokens(256) },
  score: (slot) => table.gates[slot.layer][slot.head],
  window: { first: 'sinks', last: 'recent' },
  keep: above('full'),
  when: every(16),
});
