/** What `skv bench peers` measures: one sequence at several lengths; eight at once; eight in a pool too small; hidden keys. */
export const PEER_PARTS = ['one', 'batch', 'pool', 'keys'] as const;
export type PeerPart = (typeof PEER_PARTS)[number];
