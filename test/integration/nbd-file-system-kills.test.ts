/**
 * A gateway that is killed with SIGKILL under a file system at work: nothing that was synced is lost, and the file system is
 * whole again once its journal was replayed. Of a shadowed image, so is every recovery point that is restored. `SGW_KILLS` says
 * how often, 2 by itself.
 */
import { readFileSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import { seededRandom, type Random } from '../../src/core/kit/index.ts';
import { HomeRig } from '../cli/gateway-rig.ts';
import { requireThat, toolPath } from '../requirements.ts';
import { hashFiles, lacking, LOOP_DISK_TOOLS, mounted, withDisk } from './loop-disk.ts';
import { client, exitCode } from './nbd-checks.ts';

const KILLS = Number(process.env['SGW_KILLS'] ?? 2);
const SEED = Number(process.env['SGW_SEED'] ?? 21);
const SIZE = 192 << 20;
/** Recovery points that are restored after each kill. */
const LOOKS = 2;
/** More would fill the disk, at last. */
const FILES_MAX = 400;

const missing = [...LOOP_DISK_TOOLS, 'mkfs.ext4', 'e2fsck'].filter((tool) => toolPath(tool) === undefined);
if (lacking.length > 0) process.stderr.write(`skipping kills under a file system: not here: ${lacking.join(', ')}\n`);

describe.skipIf(lacking.length > 0)('a file system on a served volume', () => {
  const { it } = requireThat(missing.length === 0, `${missing.join(', ')} not installed`);
  it(
    `ext4 loses nothing that was synced when the gateway is killed (SGW_SEED=${String(SEED)})`,
    async () => killAgainAndAgain(cachedVolume),
    120_000 + KILLS * 60_000,
  );

  it(
    `nor does it on a shadowed image, and each recovery point is a whole file system (SGW_SEED=${String(SEED)})`,
    async () => killAgainAndAgain(shadowedImage),
    120_000 + KILLS * 90_000,
  );
});

/** What is written to; `check` is called after each kill. */
interface Subject extends AsyncDisposable {
  readonly rig: HomeRig;
  readonly uri: string;
  readonly check: (random: Random) => Promise<void>;
}

async function cachedVolume(): Promise<Subject> {
  const rig = await HomeRig.activated();
  await rig.ok('gateway', 'start');
  await rig.ok('volume', 'create', 'disk', '--size', String(SIZE));
  const { uris } = (await rig.ok('volume', 'attach', 'disk')) as { uris: string[] };
  const uri = uris[0] ?? '';
  await withDisk(uri, async (disk) => {
    await client('mkfs.ext4', ['-q', '-F', disk]);
  });
  return {
    rig,
    uri,
    check: async () => Promise.resolve(),
    [Symbol.asyncDispose]: async () => rig[Symbol.asyncDispose](),
  };
}

async function shadowedImage(): Promise<Subject> {
  const rig = new HomeRig();
  await rig.ok('activate', '--name', 'lab', '--mode', 'shadowing');
  const image = path.join(rig.folder, 'disk.img');
  await client('truncate', ['-s', String(SIZE), image]);
  await client('mkfs.ext4', ['-q', '-F', image]);
  await rig.ok('gateway', 'start');
  const { uris } = (await rig.ok('volume', 'attach', 'disk', '--image', image)) as { uris: string[] };
  await rig.ok('volume', 'configure', 'disk', '--seal-interval', '200ms');
  const check = async (random: Random): Promise<void> => {
    const { recoveryPoints } = (await rig.ok('recovery-point', 'list', 'disk')) as { recoveryPoints: { at: string }[] };
    for (let looks = 0; looks < LOOKS && recoveryPoints.length > 0; looks++) {
      const at = recoveryPoints[Math.floor(random.float() * recoveryPoints.length)]?.at ?? '';
      const restored = path.join(rig.folder, 'restored.img');
      await rig.ok('snapshot', 'restore', 'disk', '--image', restored, '--recovery-point', at);
      expect(await exitCode('e2fsck', ['-p', restored]), `recovery point ${at}`).toBeLessThanOrEqual(1);
      expect(await exitCode('e2fsck', ['-f', '-n', restored]), `recovery point ${at}`).toBe(0);
      rmSync(restored);
    }
  };
  return { rig, uri: uris[0] ?? '', check, [Symbol.asyncDispose]: async () => rig[Symbol.asyncDispose]() };
}

async function killAgainAndAgain(make: () => Promise<Subject>): Promise<void> {
  const random = seededRandom(SEED);
  await using subject = await make();
  const { rig, uri } = subject;
  const synced = new Map<string, string>();
  for (let round = 1; round <= KILLS; round++) {
    await withDisk(uri, async (disk, folder) => {
      await mounted(disk, folder, async (root) => {
        const writing = writeUntilItFails(root, random, synced);
        await delay(300 + random.float() * 2500);
        process.kill(pidOf(rig.home), 'SIGKILL');
        await writing;
      });
    });
    if (random.float() < 0.5) rmSync(path.join(rig.home, 'cache'), { recursive: true, force: true });
    await rig.ok('gateway', 'start');
    await withDisk(uri, async (disk, folder) => {
      // 1: the journal was replayed.
      expect(await exitCode('e2fsck', ['-p', disk])).toBeLessThanOrEqual(1);
      expect(await exitCode('e2fsck', ['-f', '-n', disk])).toBe(0);
      const found = await mounted(disk, folder, async (root) => await hashFiles(root, [...synced.keys()]));
      expect(found).toEqual(synced);
    });
    await subject.check(random);
  }
  expect(synced.size).toBeGreaterThan(KILLS);
}

/** Makes files and syncs them, each noted once that is done; ends when the disk is gone. */
async function writeUntilItFails(root: string, random: Random, synced: Map<string, string>): Promise<void> {
  for (;;) {
    const name = `f${String(Math.floor(random.float() * FILES_MAX))}`;
    // While it is written anew it may hold the old contents, the new ones, or a part.
    synced.delete(name);
    const place = path.join(root, name);
    try {
      await using file = await open(place, 'w');
      await file.writeFile(random.bytes(1 + Math.floor(random.float() ** 3 * 300_000)));
      await file.sync();
    } catch {
      return;
    }
    // From the page cache: what was written.
    const hashes = await hashFiles(root, [name]).catch(() => new Map<string, string>());
    for (const [key, hash] of hashes) synced.set(key, hash);
  }
}

const pidOf = (home: string): number =>
  (JSON.parse(readFileSync(path.join(home, 'gateway.json'), 'utf8')) as { pid: number }).pid;
