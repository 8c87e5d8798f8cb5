/**
 * Times one operation inside a process that has loaded everything, as a daemon has: `node in-process.ts HOME OPERATION
 * INPUT`. Prints the milliseconds of the first call, opening the gateway included.
 */
import { openInProcess } from '../src/core/daemon/index.ts';
import type { OperationName } from '../src/core/localapi/index.ts';

const [home = '', operation = '', input = '{}'] = process.argv.slice(2);
const context = { signal: new AbortController().signal, onProgress: () => undefined, lockTimeoutMs: 1000 };
const startedMs = performance.now();
const api = await openInProcess({ home });
await api.call(operation as OperationName, JSON.parse(input) as never, context);
const tookMs = performance.now() - startedMs;
await api[Symbol.asyncDispose]();
process.stdout.write(String(tookMs));
