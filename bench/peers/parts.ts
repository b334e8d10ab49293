/** What `skv bench peers` measures: one sequence, short and long; eight at once; eight in a pool too small; hidden keys. */
export const PEER_PARTS = ['one', 'long', 'batch', 'pool', 'keys'] as const;
export type PeerPart = (typeof PEER_PARTS)[number];
