/** Composition root of `volume connect`: a server of one export over a device that follows the volume. Loaded by that verb alone. */
export { runConnect } from './run-connect.ts';
