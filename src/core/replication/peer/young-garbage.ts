/**
 * Memory outside the heap that is garbage soon after it was made: what a socket has received, which Node gives in pieces of 16 KiB at
 * most over TLS, and what was read to be sent. V8 takes it for a reason to mark the whole heap, several times a second while records
 * go from member to member: a third of a replica's processor time, and pauses of 10 ms and more (docs/BENCHMARKS.md, "Groups"). A
 * collection of the young generation, of less than a millisecond, frees it before.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Well below what V8 begins to mark at. */
const BYTES_AT_ONCE = 2 * 1024 ** 2;

type Collect = (options: { readonly type: 'minor'; readonly execution: 'sync' }) => unknown;

let collect: Collect | undefined;
let garbageBytes = 0;

/** So much will be garbage soon. Collects now and then. */
export function noteGarbage(bytes: number): void {
  garbageBytes += bytes;
  if (garbageBytes < BYTES_AT_ONCE) return;
  garbageBytes = 0;
  collect ??= collector();
  collect({ type: 'minor', execution: 'sync' });
}

function collector(): Collect {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as Collect;
}
