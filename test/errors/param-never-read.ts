import { definePolicy, tokens, topK } from 'skv';

export default definePolicy({
  name: 'mine',
  params: { budget: tokens(64), recent: tokens(16) },
  window: { last: 16 },
  keep: topK('budget'),
});
