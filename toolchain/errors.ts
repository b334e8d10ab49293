/** What every room throws when it is the user's to mend. */

/** A mistake of the user's: told in one paragraph that says what, where and what to do. Commands exit with 1. */
export class UserError extends Error {
  override name = 'UserError';
}
