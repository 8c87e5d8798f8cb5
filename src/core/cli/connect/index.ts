/** What `volume connect` is made of; the other commands load none of it. */
export { connectFlags, connectSettings } from './flags.ts';
export { homeSight } from './home-sight.ts';
export { connectText } from './views.ts';
