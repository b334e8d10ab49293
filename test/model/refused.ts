/** What a test of wrong models expects: one clear ModelError, never another error. */
import * as assert from 'uvu/assert';
import { ModelError } from '../../runtime/model/types.ts';

/** Fails, by `label`, unless the promise is rejected with a ModelError that says so. */
export async function refused(load: Promise<unknown>, says: RegExp, label?: string): Promise<void> {
  const before = label === undefined ? '' : `${label}: `;
  const error = await load.then(
    () => assert.unreachable(`${before}accepted`),
    (reason: Error) => reason,
  );
  assert.instance(error, ModelError, `${before}${(error as Error)?.stack}`);
  assert.match((error as Error).message, says, label);
}
