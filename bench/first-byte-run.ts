/**
 * Times clones, or restores to a local image, in a daemon that runs: `node first-byte-run.ts HOME SNAPSHOT COUNT OFFSET [IMAGE]`.
 * For each: from the call that makes the clone, or begins the restore to the file IMAGE, until a client that has connected to it
 * holds the 4 KiB at OFFSET. Prints the seconds as a JSON array.
 */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { daemonFirst } from '../src/core/client/index.ts';
import { NbdClient } from '../test/soak/served/nbd-client.ts';

const READ_BYTES = 4096;
const [home = '', snapshot = '', count = '1', offset = '0', image] = process.argv.slice(2);
const openGateway = daemonFirst(() => Promise.reject(new Error('no gateway is running')));
const api = await openGateway({ home, lockTimeoutMs: 10_000 });
const call = { signal: new AbortController().signal, onProgress: () => undefined, lockTimeoutMs: 10_000 };
const seconds: number[] = [];
for (let number = 0; number < Number(count); number += 1) {
  const name = `clone-${String(process.pid)}-${String(number)}`;
  const startedMs = performance.now();
  if (image === undefined) {
    await api.call('volume.create', { name, fromSnapshot: snapshot }, call);
    await api.call('volume.attach', { volume: name }, call);
  } else await api.call('snapshot.restore', { snapshot, image, attach: true, exportName: name }, call);
  const client = await NbdClient.connect(path.join(home, 'nbd.sock'), name);
  const bytes = await client.read(Number(offset), READ_BYTES);
  seconds.push((performance.now() - startedMs) / 1000);
  if (bytes.every((byte) => byte === 0)) throw new Error(`there is nothing at ${offset}`);
  client.close();
  await api.call('volume.detach', { volume: name }, call);
  if (image === undefined) await api.call('volume.delete', { volume: name }, call);
  else rmSync(image);
}
await api[Symbol.asyncDispose]();
process.stdout.write(JSON.stringify(seconds));
