/** What a store is begun with, by whoever does so without a gateway. A part of its own: verbs load none of it. */
export { beginKeys } from '../key-source.ts';
export { requireFit } from '../store-probe.ts';
