/**
 * What users see of a take-over: ext4 on a disk of the kernel's own, over `sgw volume connect`, with a database and small files that are
 * written and synced, while the gateway that holds the volume is killed, and while the volume moves as planned.
 */
import { execFile } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, expect } from 'vitest';
import { seededRandom, type Random } from '../../src/core/kit/index.ts';
import { requireThat, toolPath } from '../requirements.ts';
import { GroupRig } from './group-rig.ts';
import { hashFiles, lacking, LOOP_DISK_TOOLS, mounted, withDisk } from './loop-disk.ts';
import { client } from './nbd-checks.ts';

const SIZE_BYTES = 96 << 20;
const FILES = 200;

const missing = [...LOOP_DISK_TOOLS, 'mkfs.ext4', 'e2fsck', 'sqlite3'].filter((tool) => toolPath(tool) === undefined);
if (lacking.length > 0) process.stderr.write(`skipping file systems over a group: ${lacking.join(', ')}\n`);
const run = promisify(execFile);

interface Pace {
  isOver: boolean;
  /** When something was synced last, and the longest time between two. */
  lastMs: number;
  longestMs: number;
}

function step(pace: Pace): void {
  const now = performance.now();
  pace.longestMs = Math.max(pace.longestMs, now - pace.lastMs);
  pace.lastMs = now;
}

/** Writes small files, each synced, until it is over. What is in them is only what was synced. */
async function writeFiles(root: string, random: Random, pace: Pace): Promise<string[]> {
  const names = new Set<string>();
  for (let i = 0; !pace.isOver; i++) {
    const name = `f${String(i % FILES)}`;
    const file = await open(path.join(root, name), 'w');
    try {
      await file.writeFile(random.bytes(1 + Math.floor(random.float() ** 3 * 60_000)));
      await file.sync();
    } finally {
      await file.close();
    }
    names.add(name);
    step(pace);
  }
  return [...names];
}

/** Transactions of a database, each durable when it is counted. Returns how many. */
async function fillDatabase(file: string, pace: Pace): Promise<number> {
  const sql = async (text: string): Promise<string> =>
    (await run(toolPath('sqlite3') ?? '', ['-cmd', '.timeout 10000', file, text])).stdout.trim();
  await sql('PRAGMA journal_mode=WAL; CREATE TABLE ledger (number INTEGER PRIMARY KEY, text TEXT);');
  let count = 0;
  while (!pace.isOver) {
    count += 1;
    const row = `${String(count)}, hex(randomblob(200))`;
    await sql(`PRAGMA synchronous=FULL; BEGIN; INSERT INTO ledger VALUES (${row}); COMMIT;`);
    step(pace);
  }
  return count;
}

async function checkDatabase(file: string, count: number): Promise<void> {
  const { stdout } = await run(toolPath('sqlite3') ?? '', [
    file,
    'PRAGMA integrity_check; SELECT count(*), max(number) FROM ledger;',
  ]);
  expect(stdout.trim().split('\n')).toEqual(['ok', `${String(count)}|${String(count)}`]);
}

describe.skipIf(lacking.length > 0)('a group below a file system', () => {
  requireThat(missing.length === 0, `${missing.join(', ')} not installed`).it(
    'C26 C27: ext4 and a database see a pause and no error while the holder is killed and while the volume moves, and lose nothing',
    async () => {
      await using group = await GroupRig.start(['one', 'two', 'three'], {
        ...{ sizeBytes: SIZE_BYTES, replicas: 2 },
        // Nobody attaches it: the group has a member serve it.
        attach: async (first) => {
          await first.call('volume.create', { name: 'disk', sizeBytes: SIZE_BYTES });
        },
      });
      await using connected = await group.connect();
      await withDisk(connected.uri, async (disk, folder) => {
        await client('mkfs.ext4', ['-q', '-F', disk]);
        const [names, hashes, rows] = await mounted(disk, folder, async (root) => {
          const [files, database] = [newPace(), newPace()];
          const writing = writeFiles(root, seededRandom(7), files);
          const filling = fillDatabase(path.join(root, 'ledger.db'), database);
          const pauses: [string, number][] = [];
          const during = async (what: string, work: () => Promise<void>): Promise<void> => {
            files.longestMs = 0;
            await work();
            const [afterFiles, afterRows] = [files.lastMs, database.lastMs];
            await group.waitFor('both go on', async () => {
              await delay(20);
              return (files.lastMs > afterFiles && database.lastMs > afterRows) || undefined;
            });
            pauses.push([what, files.longestMs]);
          };
          try {
            await delay(1500);
            await during('the holder killed', async () => {
              const holder = await group.holder();
              await holder.kill();
              await group.holder();
            });
            await group.settle(2);
            await during('a planned take-over', async () => {
              const [next] = await group.others();
              await next?.call('group.failover', { volume: 'disk', to: next.name });
            });
          } finally {
            files.isOver = true;
            database.isOver = true;
            await Promise.allSettled([writing, filling]);
          }
          const [written, count] = await Promise.all([writing, filling]);
          for (const [what, ms] of pauses)
            process.stderr.write(`${what}: no file was synced for ${ms.toFixed(0)} ms\n`);
          expect(pauses[1]?.[1]).toBeLessThan(3000);
          await checkDatabase(path.join(root, 'ledger.db'), count);
          return [written, await hashFiles(root, written), count] as const;
        });
        expect(names.length).toBeGreaterThan(5);
        await client('e2fsck', ['-f', '-n', disk]);
        // The kernel's own copies are gone with the mount.
        await mounted(disk, folder, async (root) => {
          expect(await hashFiles(root, names)).toEqual(hashes);
          expect((await readFile(path.join(root, 'ledger.db'))).length).toBeGreaterThan(0);
          await checkDatabase(path.join(root, 'ledger.db'), rows);
        });
      });
      expect((await connected.end()).exitCode).toBe(0);
    },
    400_000,
  );
});

const newPace = (): Pace => ({ isOver: false, lastMs: performance.now(), longestMs: 0 });
