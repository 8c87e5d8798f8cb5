/**
 * File systems on a volume that a gateway serves: nbdfuse makes a file of the export, a loop device a disk of the file, and the
 * kernel's own ext4 and xfs do the rest. After the gateway was ended and started again, everything is there.
 */
import { mkdir, open, rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { HomeRig } from '../cli/gateway-rig.ts';
import { requireThat, toolPath } from '../requirements.ts';
import { hashFiles, lacking, LOOP_DISK_TOOLS, mounted, withDisk } from './loop-disk.ts';
import { client } from './nbd-checks.ts';

/** The smallest that mkfs.xfs takes is 300 MiB. */
const SIZE = 320 << 20;

interface FileSystem {
  readonly name: string;
  readonly make: readonly [tool: string, ...args: string[]];
  /** Ends with 0 when the file system is whole; changes nothing. */
  readonly check: readonly [tool: string, ...args: string[]];
}

const FILE_SYSTEMS: readonly FileSystem[] = [
  { name: 'ext4', make: ['mkfs.ext4', '-q', '-F'], check: ['e2fsck', '-f', '-n'] },
  { name: 'xfs', make: ['mkfs.xfs', '-q', '-f'], check: ['xfs_repair', '-n'] },
];

const tools = [...LOOP_DISK_TOOLS, 'fstrim', ...FILE_SYSTEMS.flatMap((one) => [one.make[0], one.check[0]])];
const missing = tools.filter((tool) => toolPath(tool) === undefined);
const reason = `not on this machine: ${lacking.join(', ')}`;
if (lacking.length > 0) process.stderr.write(`skipping file systems over NBD: ${reason}\n`);

requireThat(missing.length === 0, `${missing.join(', ')} not installed`).describe(
  'a file system on a cached volume',
  () => {
    let rig: HomeRig;
    beforeAll(async () => {
      if (lacking.length > 0) return;
      rig = await HomeRig.activated();
      await rig.ok('gateway', 'start');
    }, 120_000);
    afterAll(async () => {
      if (lacking.length === 0) await rig[Symbol.asyncDispose]();
    });

    describe.skipIf(lacking.length > 0)(
      lacking.length > 0 ? `(skipped: ${reason})` : 'through nbdfuse and a loop device',
      () => {
        for (const fileSystem of FILE_SYSTEMS)
          it(`${fileSystem.name} keeps files, also those that were only synced, over a restart of the gateway`, async () => {
            await rig.ok('volume', 'create', fileSystem.name, '--size', String(SIZE));
            const { uris } = (await rig.ok('volume', 'attach', fileSystem.name)) as { uris: string[] };
            const uri = uris[0] ?? '';
            let written = new Map<string, string>();
            await withDisk(uri, async (disk, folder) => {
              const [make, ...options] = fileSystem.make;
              await client(make, [...options, disk]);
              written = await mounted(disk, folder, writeFiles);
              const [check, ...flags] = fileSystem.check;
              await client(check, [...flags, disk]);
            });
            await rig.ok('gateway', 'stop');
            await rig.ok('gateway', 'start');
            await withDisk(uri, async (disk, folder) => {
              const read = await mounted(disk, folder, async (root) => await hashFiles(root, [...written.keys()]));
              expect(read).toEqual(written);
              const [check, ...flags] = fileSystem.check;
              await client(check, [...flags, disk]);
            });
          }, 300_000);
      },
    );
  },
);

/** Files of many sizes, some synced, some removed again and their space trimmed. Returns the hash of each that stays. */
async function writeFiles(root: string): Promise<Map<string, string>> {
  const random = seededRandom(5);
  const names: string[] = [];
  for (let i = 0; i < 120; i++) {
    const name = `d${String(i % 7)}/f${String(i)}`;
    await mkdir(path.join(root, path.dirname(name)), { recursive: true });
    const file = await open(path.join(root, name), 'w');
    try {
      await file.writeFile(random.bytes(1 + Math.floor(random.float() ** 4 * 600_000)));
      if (i % 3 === 0) await file.sync();
    } finally {
      await file.close();
    }
    if (i % 5 === 4) await rm(path.join(root, name));
    else names.push(name);
  }
  await client('fstrim', [root]);
  return await hashFiles(root, names);
}
