/** Printed by `npm run contract`: versions of the contract, as records.h and backend_records.h have them. */
export const ABI_VERSION = 0x46a14333;
export const BACKEND_VERSION = 0xadd1b958;
