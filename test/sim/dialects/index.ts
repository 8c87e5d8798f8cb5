/** The simulation over S3's dialects: servers that differ, and ways to them that repeat, delay and lose. */
export { probeDialect } from './probe.ts';
export { missingOver } from './required.ts';
export { runDialect, tryDialect, type DialectRun } from './run-dialect.ts';
export { DIALECTS, dialectOf, type Dialect } from './servers.ts';
