/** The block API: a part of a server. */
export { blockApi } from './front-end.ts';
