/**
 * Selection and compaction alone: what stays, where it moves with everything that belongs to it, which slot fills a hole,
 * and positions as if evicted tokens had never been. The same cases for every target.
 */
import type { Runner } from '../runners.ts';
import { headCases } from './heads.ts';
import { keepCases } from './keeps.ts';
import { moveCases } from './moves.ts';
import { positionCases } from './positions.ts';
import { rankCases } from './ranks.ts';
import { settingOf } from './setting.ts';
import { stateCases } from './states.ts';

export function compactCases(runner: Runner): void {
  const setting = settingOf(runner);
  for (const cases of [rankCases, headCases, moveCases, keepCases, stateCases, positionCases]) cases(setting);
}
