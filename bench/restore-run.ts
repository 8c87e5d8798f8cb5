/**
 * One life of a restore in a daemon that runs: `node restore-run.ts HOME SNAPSHOT IMAGE`. A client reads 4 KiB at random, one read
 * in flight, until all is restored. Prints what it waited, as JSON.
 */
import path from 'node:path';
import { daemonFirst } from '../src/core/client/index.ts';
import { NbdClient } from '../test/soak/served/nbd-client.ts';

const READ_BYTES = 4096;
const ASK_MS = 100;
const [home = '', snapshot = '', image = ''] = process.argv.slice(2);
const openGateway = daemonFirst(() => Promise.reject(new Error('no gateway is running')));
const api = await openGateway({ home, lockTimeoutMs: 10_000 });
const call = { signal: new AbortController().signal, onProgress: () => undefined, lockTimeoutMs: 10_000 };
const startedMs = performance.now();
await api.call('snapshot.restore', { snapshot, image, attach: true, exportName: 'life' }, call);
const client = await NbdClient.connect(path.join(home, 'nbd.sock'), 'life');
const pages = Math.floor(client.sizeBytes / READ_BYTES);
const waitedMs: number[] = [];
let askedMs = performance.now();
for (;;) {
  const beganMs = performance.now();
  await client.read(Math.floor(Math.random() * pages) * READ_BYTES, READ_BYTES);
  waitedMs.push(performance.now() - beganMs);
  if (performance.now() - askedMs < ASK_MS) continue;
  askedMs = performance.now();
  const { exports } = await api.call('status', {}, call);
  const restore = exports.find(({ exportName }) => exportName === 'life')?.restore;
  if (restore?.state !== 'completed') continue;
  const sorted = waitedMs.toSorted((a, b) => a - b);
  const demandReads = restore.demandReads ?? 0;
  const life = {
    seconds: (performance.now() - startedMs) / 1000,
    reads: waitedMs.length,
    meanMs: waitedMs.reduce((sum, ms) => sum + ms, 0) / waitedMs.length,
    p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? 0,
    demandReads,
    demandMeanMs: demandReads === 0 ? 0 : (restore.demandReadMs ?? 0) / demandReads,
  };
  process.stdout.write(JSON.stringify(life));
  break;
}
client.close();
await api.call('volume.detach', { volume: 'life' }, call);
await api[Symbol.asyncDispose]();
