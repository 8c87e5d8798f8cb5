/** Room `kit` (level 0): what every other room may use. No I/O but clock and randomness. */
export * from './clock.ts';
export * from './echo.ts';
export * from './errors.ts';
export * from './html.ts';
export * from './ids.ts';
export * from './iscsi-names.ts';
export type * from './logger.ts';
export * from './names.ts';
export * from './owner-only.ts';
export * from './random.ts';
export * from './semaphore.ts';
export * from './shallow-json.ts';
export * from './sizes.ts';
export * from './system-clock.ts';
export * from './time-of-day.ts';
export * from './until-aborted.ts';
