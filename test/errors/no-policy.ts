import { tokens } from 'skv';

export default { name: 'mine', budget: tokens(64) };
