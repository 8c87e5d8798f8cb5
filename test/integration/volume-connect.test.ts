/**
 * `sgw volume connect` as it is installed, over two gateways and one store: the one that holds the volume is killed under load and the
 * other takes over, and whoever is above sees a pause, no error, and everything that was acknowledged.
 */
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { HomeRig, isAlive, until } from '../cli/gateway-rig.ts';
import { requireThat, toolPath } from '../requirements.ts';
import { NbdClient } from '../soak/served/nbd-client.ts';
import { sendStamped } from '../soak/served/stamped-load.ts';
import { PAGE, StampBook, stampOf } from '../soak/served/stamps.ts';
import { Connected } from './connected.ts';
import { hashFiles, lacking, LOOP_DISK_TOOLS, mounted, withDisk } from './loop-disk.ts';
import { client } from './nbd-checks.ts';

const PAGES = 4096;

interface Two extends AsyncDisposable {
  readonly first: HomeRig;
  readonly second: HomeRig;
  readonly from: string;
}

/** Two gateways over one store; the first serves `disk`, whose writes are acknowledged when they are in the store. */
async function twoGateways(sizeBytes: number): Promise<Two> {
  const first = await HomeRig.activated('home');
  const second = await HomeRig.activated('home', '--store', path.join(first.home, 'store'));
  await first.ok('volume', 'create', 'disk', '--size', String(sizeBytes));
  // Nothing of what was acknowledged is in one home alone: there is no group here.
  for (const rig of [first, second]) await rig.ok('volume', 'configure', 'disk', '--ack', 'store');
  await first.ok('gateway', 'start');
  await second.ok('gateway', 'start');
  await first.ok('volume', 'attach', 'disk');
  const from = [first, second].map(({ home }) => `unix:${path.join(home, 'nbd.sock')}`).join(',');
  return {
    first,
    second,
    from,
    [Symbol.asyncDispose]: async () => {
      await second[Symbol.asyncDispose]();
      await first[Symbol.asyncDispose]();
    },
  };
}

async function killAndTakeOver({ first, second }: Two): Promise<void> {
  const pid = first.daemonPid();
  if (pid === undefined) throw new Error('the first gateway does not run');
  process.kill(pid, 'SIGKILL');
  await until('it is dead', () => !isAlive(pid));
  await second.ok('volume', 'attach', 'disk', '--take-over');
}

async function stampsOf(connection: NbdClient): Promise<number[]> {
  const found: number[] = [];
  for (let page = 0; page < PAGES; page += 64) {
    const bytes = await connection.read(page * PAGE, 64 * PAGE);
    for (let i = 0; i < 64; i++) found.push(stampOf(page + i, bytes.subarray(i * PAGE, (i + 1) * PAGE)));
  }
  return found;
}

it('a take-over under load: no error, a pause, and everything that was acknowledged', async () => {
  await using two = await twoGateways(PAGES * PAGE);
  await using connected = new Connected(two.first, 'disk', '--from', two.from, '--silence-timeout', '2s');
  await connected.ready();
  const connection = await NbdClient.connect(connected.socket, 'disk');
  const counts = { writes: 0, flushes: 0 };
  const book = new StampBook(PAGES);
  const load = sendStamped(connection, { random: seededRandom(9), book, counts });
  await until('there is load', () => counts.writes > 300, 60_000);
  await killAndTakeOver(two);
  const before = counts.writes;
  const moved = await connected.moved();
  await until('it goes on', () => counts.writes > before + 300, 60_000);
  // Nobody was told of a failure: the load goes on until its own connection is closed.
  connection.close();
  await load;
  expect(moved.address).toBe(`unix:${path.join(two.second.home, 'nbd.sock')}`);
  expect(moved.epoch).toBeGreaterThan(1);
  expect(moved.repeated).toBeGreaterThan(0);
  const direct = await NbdClient.connect(path.join(two.second.home, 'nbd.sock'), 'disk');
  book.checkAfterKill(await stampsOf(direct));
  direct.close();
  const { exitCode } = await connected.end();
  expect([exitCode, connected.kinds()]).toEqual([0, ['found', 'ready', 'lost', 'found', 'closed']]);
  expect(existsSync(connected.socket)).toBe(false);
}, 300_000);

it('C6: a holder that was stopped, and goes on after another one took over, is not followed back', async () => {
  await using two = await twoGateways(PAGES * PAGE);
  await using connected = new Connected(two.first, 'disk', '--from', two.from, '--silence-timeout', '1s');
  await connected.ready();
  const connection = await NbdClient.connect(connected.socket, 'disk');
  const counts = { writes: 0, flushes: 0 };
  const book = new StampBook(PAGES);
  const load = sendStamped(connection, { random: seededRandom(10), book, counts });
  await until('there is load', () => counts.writes > 100, 60_000);
  const pid = two.first.daemonPid() ?? 0;
  process.kill(pid, 'SIGSTOP');
  try {
    await two.second.ok('volume', 'attach', 'disk', '--take-over');
    await connected.moved();
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  const before = counts.writes;
  await until('it goes on', () => counts.writes > before + 200, 60_000);
  // The second is started anew; meanwhile the first says that it serves the volume.
  await two.second.ok('gateway', 'restart');
  const later = counts.writes;
  await until('it goes on again', () => counts.writes > later + 100, 60_000);
  connection.close();
  await load;
  const direct = await NbdClient.connect(path.join(two.second.home, 'nbd.sock'), 'disk');
  book.checkAfterKill(await stampsOf(direct));
  direct.close();
  const places = connected.events.filter(({ event }) => event === 'found').map(({ address }) => address);
  const second = `unix:${path.join(two.second.home, 'nbd.sock')}`;
  expect(places.slice(1).every((place) => place === second)).toBe(true);
  expect(connected.kinds()).toContain('silent');
}, 300_000);

it('without --from it asks the home, also while the gateway there is started anew', async () => {
  await using rig = await HomeRig.activated();
  await rig.ok('gateway', 'start');
  await rig.ok('volume', 'create', 'disk', '--size', '16MiB', '--attach');
  await using connected = new Connected(rig, 'disk');
  await connected.ready();
  const connection = await NbdClient.connect(connected.socket, 'disk');
  await connection.write(0, Buffer.alloc(4096, 5));
  await rig.ok('gateway', 'restart');
  expect(await connection.read(0, 4096)).toEqual(Buffer.alloc(4096, 5));
  await connection.flush();
  connection.close();
  expect((await connected.end()).exitCode).toBe(0);
});

describe('what can not be served', () => {
  it('a place that another program serves at is left to that', async () => {
    await using rig = await HomeRig.activated();
    await rig.ok('gateway', 'start');
    await rig.ok('volume', 'create', 'disk', '--size', '16MiB', '--attach');
    const taken = `unix:${path.join(rig.home, 'nbd.sock')}`;
    expect(await rig.failure('volume', 'connect', 'disk', '--listen', taken)).toMatchObject({
      code: 'address-in-use',
      exitCode: 5,
    });
    expect(await rig.failure('volume', 'connect', 'disk', '--listen', `unix:${rig.file('plain', 'x')}`)).toMatchObject({
      code: 'address-in-use',
    });
  });

  it('nobody serves it: it waits, as long as it is told to', async () => {
    await using rig = await HomeRig.activated();
    const words = ['volume', 'connect', 'disk', '--listen', 'tcp:127.0.0.1:0', '--give-up', '300ms'];
    const gone = `unix:${path.join(rig.folder, 'gone.sock')}`;
    const { exitCode, stdout } = await rig.run([...words, '--from', gone, '--json']);
    const last = JSON.parse(stdout.slice(stdout.lastIndexOf('\n{', stdout.length - 3))) as { error: { code: string } };
    expect([exitCode, last.error.code]).toEqual([9, 'no-holder']);
  });
});

const missing = [...LOOP_DISK_TOOLS, 'mkfs.ext4', 'e2fsck'].filter((tool) => toolPath(tool) === undefined);
if (lacking.length > 0) process.stderr.write(`skipping file systems over volume connect: ${lacking.join(', ')}\n`);

describe.skipIf(lacking.length > 0)('a file system above it', () => {
  const { it: itWithTools } = requireThat(missing.length === 0, `${missing.join(', ')} not installed`);
  itWithTools(
    'ext4 goes on over a take-over, and loses nothing',
    async () => {
      await using two = await twoGateways(96 << 20);
      await using connected = new Connected(two.first, 'disk', '--from', two.from, '--silence-timeout', '2s');
      await connected.ready();
      await withDisk(connected.uri, async (disk, folder) => {
        await client('mkfs.ext4', ['-q', '-F', disk]);
        const random = seededRandom(3);
        const [written, read] = await mounted(disk, folder, async (root) => {
          const state = { isOver: false };
          const names: string[] = [];
          const writing = writeFiles(root, random, names, () => state.isOver);
          await delay(1500);
          await killAndTakeOver(two);
          await connected.moved();
          await delay(1000);
          state.isOver = true;
          await writing;
          return [names, await hashFiles(root, names)] as const;
        });
        expect(written.length).toBeGreaterThan(5);
        await client('e2fsck', ['-f', '-n', disk]);
        // The kernel's own copies are gone with the mount.
        const again = await mounted(disk, folder, async (root) => await hashFiles(root, written));
        expect(again).toEqual(read);
      });
      expect((await connected.end()).exitCode).toBe(0);
    },
    300_000,
  );
});

/** Writes and syncs files until it is told to end; any failure ends the test. */
async function writeFiles(
  root: string,
  random: { bytes(count: number): Buffer; float(): number },
  names: string[],
  isOver: () => boolean,
): Promise<void> {
  for (let i = 0; !isOver(); i++) {
    const name = `f${String(i % 200)}`;
    const file = await open(path.join(root, name), 'w');
    try {
      await file.writeFile(random.bytes(1 + Math.floor(random.float() ** 3 * 100_000)));
      await file.sync();
    } finally {
      await file.close();
    }
    if (!names.includes(name)) names.push(name);
  }
}
