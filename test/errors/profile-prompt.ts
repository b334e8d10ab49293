import { definePolicy, everything, profile, promptChunk } from 'skv';

export default definePolicy({
  name: 'mine',
  observe: 'decode',
  accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } },
  keep: profile(0.9, 'mass', [{ classes: ['special'] }, everything]),
  when: promptChunk(64),
});
