/** Printed by `npm run contract`: versions of the contract, as records.h and backend_records.h have them. */
export const ABI_VERSION = 0x8d5e9958;
export const BACKEND_VERSION = 0x13688721;
