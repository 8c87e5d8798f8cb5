/** Room `cli` (level 3): what commands are made of. `main.ts` is loaded by the program alone. */
export * from './attachment-flags.ts';
export * from './attachment-views.ts';
export * from './command.ts';
export * from './configure.ts';
export * from './demo.ts';
export * from './flags.ts';
export * from './gateway-views.ts';
export * from './map-picture.ts';
export { COLORS, OUTPUTS } from './preferences.ts';
export * from './prompted.ts';
export * from './secrets.ts';
export * from './secret-files.ts';
export * from './service-views.ts';
export * from './snapshot-views.ts';
export * from './snapshot-wait.ts';
export * from './store-views.ts';
export * from './values.ts';
export * from './volume-views.ts';
