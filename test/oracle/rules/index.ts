/**
 * The shipped policies once more, from their papers' rules, in plain loops over plain lists. `generated` counts the
 * tokens fed after the prompt; it is -1 while the prompt is still being read.
 */
export { a2sf, h2o, scissorhands, tova, vatp } from './attention.ts';
export { randomattn, vase } from './chance.ts';
export { duo, none, streaming } from './ends.ts';
export { adakv, adasnapkv, chunkkv, pyramidkv, snapkv } from './observation.ts';
export { fastgen } from './profile.ts';
export { keydiff, knorm, lagkv } from './vectors.ts';
