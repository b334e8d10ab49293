/** Printed by `npm run contract`: versions of the contract, as records.h and backend_records.h have them. */
export const ABI_VERSION = 0x2fe72a00;
export const BACKEND_VERSION = 0xd67a6cdc;
