/**
 * What random writes to a served volume cost in requests to the store, and what an idle one does (DESIGN section 12, P10): the
 * built program, its daemon, and its own count of requests.
 */
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../../src/core/kit/index.ts';
import { sgw } from '../run-sgw.ts';
import { placeIn } from '../verb.ts';
import { NbdClient } from './nbd-client.ts';

const WRITE_BYTES = 4096;
const VOLUME_BYTES = 1 << 30;
const IN_FLIGHT = 32;
const MIB = 1 << 20;

export interface PutCounts {
  readonly writtenBytes: number;
  /** While it was written and drained. */
  readonly puts: number;
  /** Of these: segments. The others are maps and heads of checkpoints. */
  readonly segments: number;
  readonly otherRequests: number;
  readonly uploadedBytes: number;
  readonly seconds: number;
  readonly idleSeconds: number;
  /** Of any kind, while it was idle. */
  readonly idleRequests: number;
}

/** What P10 asks for. A checkpoint comes every 64 segments, and with the drain: a map and a head. */
export const putsMax = ({ writtenBytes, segments }: Pick<PutCounts, 'writtenBytes' | 'segments'>): number =>
  Math.ceil((writtenBytes / (8 * MIB)) * 1.3) + 2 * (Math.floor(segments / 64) + 1);

/** Writes `bytes` in random places of a volume of 1 GiB, drains, and then does nothing for `idleMs`. */
export async function countPuts(options: {
  readonly folder: string;
  readonly random: Random;
  readonly bytes: number;
  readonly idleMs: number;
}): Promise<PutCounts> {
  const { folder, random, bytes, idleMs } = options;
  const place = placeIn(folder);
  const home = join(folder, 'home');
  await sgw(place, 'activate', '--name', 'puts', '--store', join(folder, 'store'));
  await sgw(place, 'volume', 'create', 'disk', '--size', String(VOLUME_BYTES));
  await sgw(place, 'gateway', 'start');
  try {
    await sgw(place, 'volume', 'attach', 'disk');
    const before = await metrics(home);
    const client = await NbdClient.connect(join(home, 'nbd.sock'), 'disk');
    const startedMs = performance.now();
    await writeAtRandom({ bytes, volumeBytes: VOLUME_BYTES, random }, async (offset, data) =>
      client.write(offset, data),
    );
    await client.flush();
    await sgw(place, 'snapshot', 'create', 'disk', '--name', 'all', '--wait');
    const seconds = (performance.now() - startedMs) / 1000;
    const after = await metrics(home);
    await delay(idleMs);
    const idle = await metrics(home);
    client.close();
    return {
      writtenBytes: bytes,
      puts: after.puts - before.puts,
      segments: after.segments - before.segments,
      otherRequests: after.requests - after.puts - (before.requests - before.puts),
      uploadedBytes: after.uploadedBytes - before.uploadedBytes,
      seconds,
      idleSeconds: idleMs / 1000,
      idleRequests: idle.requests - after.requests,
    };
  } finally {
    await sgw(place, 'gateway', 'stop');
  }
}

interface RandomWrites {
  readonly bytes: number;
  readonly volumeBytes: number;
  readonly random: Random;
}

/** Writes pages that do not compress in random places, 32 in flight. */
export async function writeAtRandom(
  { bytes, volumeBytes, random }: RandomWrites,
  write: (offset: number, data: Buffer) => Promise<unknown>,
): Promise<void> {
  let left = bytes / WRITE_BYTES;
  const pages = volumeBytes / WRITE_BYTES;
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      while (left-- > 0) await write(Math.floor(random.float() * pages) * WRITE_BYTES, random.bytes(WRITE_BYTES));
    }),
  );
}

interface Metrics {
  readonly puts: number;
  readonly requests: number;
  readonly segments: number;
  readonly uploadedBytes: number;
}

/** As Prometheus gets them. Asks the store for nothing. */
async function metrics(home: string): Promise<Metrics> {
  const text = await new Promise<string>((resolve, reject) => {
    request({ socketPath: join(home, 'gateway.sock'), path: '/metrics' }, (response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => (body += chunk.toString()));
      response.on('end', () => {
        resolve(body);
      });
    })
      .on('error', reject)
      .end();
  });
  const sum = (pattern: RegExp): number => {
    const values = [...text.matchAll(pattern)].map(([, value]) => Number(value));
    if (values.length === 0) throw new Error(`the metrics have no ${pattern.source}`);
    return values.reduce((total, value) => total + value, 0);
  };
  return {
    puts: sum(/^sgw_store_requests_total\{operation="put",kind="[^"]*"\} (\d+)/gm),
    requests: sum(/^sgw_store_requests_total\{.*\} (\d+)/gm),
    segments: sum(/^sgw_volume_commits_total\{.*\} (\d+)/gm),
    uploadedBytes: sum(/^sgw_volume_uploaded_bytes_total\{.*\} (\d+)/gm),
  };
}
