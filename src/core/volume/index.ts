/** Room `volume`. */
export * from './contract.ts';
