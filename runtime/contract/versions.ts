/** Printed by `npm run contract`: versions of the contract, as records.h and backend_records.h have them. */
export const ABI_VERSION = 0x38b1d123;
export const BACKEND_VERSION = 0x3fba6459;
