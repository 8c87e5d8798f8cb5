/**
 * A gateway that is killed with SIGKILL under a file system over iSCSI and started again, or replaced by `gateway restart`: the
 * initiator logs in anew by itself and sends again what was not answered, so that programs only wait. Nothing is lost.
 * `SGW_KILLS` says how often, 2 by itself.
 */
import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { requireThat, toolPath } from '../requirements.ts';
import { iscsiGateway, iscsiUri, missingClients, withBridge, type Attachment } from './iscsi-clients.ts';
import { hashFiles, lacking, LOOP_DISK_TOOLS, mounted, withDisk } from './loop-disk.ts';
import { client, exitCode, inFolder } from './nbd-checks.ts';

const KILLS = Number(process.env['SGW_KILLS'] ?? 2);
const SEED = Number(process.env['SGW_SEED'] ?? 22);

interface FileSystem {
  readonly name: string;
  readonly sizeBytes: number;
  readonly make: readonly [string, ...string[]];
  readonly check: readonly [string, ...string[]];
}

const FILE_SYSTEMS: readonly FileSystem[] = [
  {
    name: 'ext4',
    sizeBytes: 192 << 20,
    make: ['mkfs.ext4', '-q', '-F'],
    check: ['e2fsck', '-f', '-n'],
  },
  // The smallest that mkfs.xfs makes.
  { name: 'xfs', sizeBytes: 320 << 20, make: ['mkfs.xfs', '-q', '-f'], check: ['xfs_repair', '-n'] },
];
const FILES_MAX = 400;

const missing = [
  ...missingClients(),
  ...[...LOOP_DISK_TOOLS, ...FILE_SYSTEMS.flatMap(({ make, check }) => [make[0], check[0]])].filter(
    (tool) => toolPath(tool) === undefined,
  ),
];
if (lacking.length > 0) process.stderr.write(`skipping kills under a file system: not here: ${lacking.join(', ')}\n`);

describe.skipIf(lacking.length > 0)('a file system over iSCSI', () => {
  const { it } = requireThat(missing.length === 0, `${missing.join(', ')} not installed`);
  for (const system of FILE_SYSTEMS)
    it(
      `${system.name} goes on when the gateway is killed or restarted, and is whole (SGW_SEED=${String(SEED)})`,
      async () => killAgainAndAgain(system),
      120_000 + KILLS * 60_000,
    );
});

async function killAgainAndAgain({ sizeBytes, make, check }: FileSystem): Promise<void> {
  const random = seededRandom(SEED);
  const { rig } = await iscsiGateway();
  await using _rig = rig;
  await rig.ok('volume', 'create', 'disk', '--size', String(sizeBytes));
  const attached = (await rig.ok('volume', 'attach', 'disk', '--protocol', 'iscsi')) as unknown as Attachment;
  const written = new Map<string, string>();
  const onDisk = async (use: (disk: string, folder: string) => Promise<void>): Promise<void> =>
    inFolder(async (folder) => withBridge(iscsiUri(attached), folder, async (uri) => withDisk(uri, use)));
  await onDisk(async (disk, folder) => {
    await client(make[0], [...make.slice(1), disk]);
    await mounted(disk, folder, async (root) => {
      const stop = new AbortController();
      const writing = writeUntil(stop.signal, root, random, written);
      for (let kill = 1; kill <= KILLS; kill++) {
        await delay(300 + random.float() * 1500);
        if (kill % 2 === 0) await rig.ok('gateway', 'restart');
        else {
          process.kill(pidOf(rig.home), 'SIGKILL');
          await delay(random.float() * 500);
          await rig.ok('gateway', 'start');
        }
        const before = written.size;
        const endMs = Date.now() + 40_000;
        while (written.size === before && before < FILES_MAX && Date.now() < endMs) await delay(50);
        expect(written.size, 'it is written on').toBeGreaterThan(before);
      }
      stop.abort();
      await writing;
    });
  });
  await onDisk(async (disk, folder) => {
    expect(await exitCode(check[0], [...check.slice(1), disk])).toBe(0);
    const found = await mounted(disk, folder, async (root) => await hashFiles(root, [...written.keys()]));
    expect(found).toEqual(written);
  });
  expect(written.size).toBeGreaterThan(KILLS);
}

/** Makes files and syncs them, each noted once that is done. A failure is the test's. */
async function writeUntil(
  signal: AbortSignal,
  root: string,
  random: ReturnType<typeof seededRandom>,
  written: Map<string, string>,
): Promise<void> {
  for (let i = 0; !signal.aborted && i < FILES_MAX; i++) {
    const name = `f${String(i)}`;
    await using file = await open(path.join(root, name), 'w');
    await file.writeFile(random.bytes(1 + Math.floor(random.float() ** 3 * 300_000)));
    await file.sync();
    for (const [key, hash] of await hashFiles(root, [name])) written.set(key, hash);
    await delay(20);
  }
}

const pidOf = (home: string): number =>
  (JSON.parse(readFileSync(path.join(home, 'gateway.json'), 'utf8')) as { pid: number }).pid;
