/** Schedules over volumes that are served for real, and verified restores with commands that look at them. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ScheduleRunner } from '../../src/core/gateway/schedules/runner.ts';
import { systemClock } from '../../src/core/kit/index.ts';
import type { ScheduleDocument } from '../../src/core/localapi/index.ts';
import { directoryStore } from '../../src/core/objectstore/index.ts';
import { requireTool, toolPath } from '../requirements.ts';
import { LiveProcess } from './live-home.ts';

const HOUR = 3_600_000;
const MIB = 1024 * 1024;

let directory: string;
let live: LiveProcess;
let runner: ScheduleRunner;
/** Of the time of day, which the test moves on. */
let aheadMs: number;
const clock = { ...systemClock, nowMs: () => systemClock.nowMs() + aheadMs };

beforeEach(async () => {
  aheadMs = 0;
  directory = await mkdtemp(join(tmpdir(), 'sgw-sched-'));
  live = await LiveProcess.open(join(directory, 'home'), clock);
  await live.call('activate', { name: 'lab', mode: 'cached' });
});
afterEach(async () => {
  await runner.stop();
  await live[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function scheduleOf(): Promise<ScheduleDocument> {
  const [schedule] = (await live.call('schedule.show', { volume: 'db' })).schedules;
  if (schedule === undefined) throw new Error('there is no schedule');
  return schedule;
}

async function until(isDone: (schedule: ScheduleDocument) => boolean): Promise<ScheduleDocument> {
  for (let looks = 0; ; looks++) {
    const schedule = await scheduleOf();
    if (isDone(schedule)) return schedule;
    if (looks > 600) throw new Error(`it does not come: ${JSON.stringify(schedule)}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
}

type Verify = NonNullable<ScheduleDocument['verify']>;
type Last = NonNullable<Verify['last']>;

/** A volume with data and a snapshot, which is verified at once. */
async function verified(verify: object): Promise<Last> {
  const image = join(directory, 'disk.img');
  await writeFile(image, Buffer.alloc(MIB, 'data'));
  await live.call('volume.import', { file: image, name: 'db' });
  await live.call('snapshot.create', { volume: 'db', name: 'v1' });
  await live.serve();
  await live.call('schedule.set', { volume: 'db', everyMs: HOUR, verify: { everyMs: 24 * HOUR, share: 1, ...verify } });
  runner = await live.runSchedules();
  const done = await until(({ verify }) => verify !== null && verify.last !== null);
  return done.verify?.last as Last;
}

/** Runs `work` where no nbdfuse is found. */
async function withoutFuse<T>(work: () => Promise<T>): Promise<T> {
  const path = process.env['PATH'];
  const folder = join(directory, 'bin');
  const tools = ['cmp', 'stat', 'sh'].map((name) => [name, toolPath(name)] as const);
  await mkdir(folder);
  for (const [name, place] of tools) if (place !== undefined) await symlink(place, join(folder, name));
  process.env['PATH'] = folder;
  return await work().finally(() => {
    process.env['PATH'] = path;
  });
}

const leftIn = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);

it(
  'a volume that is served is snapshotted as it was acknowledged, one run for all that was missed',
  { timeout: 60_000 },
  async () => {
    await live.call('volume.create', { name: 'db', sizeBytes: MIB });
    await live.serve();
    await live.call('volume.attach', { volume: 'db' });
    await live.call('schedule.set', { volume: 'db', everyMs: HOUR });
    runner = await live.runSchedules();
    await live.write('db', 3, 7);
    aheadMs = 5 * HOUR;
    await live.call('schedule.set', { volume: 'db', everyMs: HOUR });
    const { lastRun } = await until(({ runs }) => runs === 1);
    await live.write('db', 3, 8);
    const { snapshots } = await live.call('snapshot.list', { volume: 'db' });
    expect(snapshots.map(({ snapshotId, state }) => [snapshotId, state])).toEqual([[lastRun?.snapshotId, 'completed']]);
    await live.call('volume.create', { name: 'then', fromSnapshot: lastRun?.snapshotId ?? '' });
    await live.call('volume.attach', { volume: 'then' });
    expect([await live.read('then', 3), await live.read('db', 3)]).toEqual([7, 8]);
  },
);

describe('a verified restore', { timeout: 60_000 }, () => {
  it('reads all, runs the command over an image of the snapshot, records both with the snapshot, and leaves nothing', async () => {
    const command =
      'cmp -n 1048576 "$SGW_IMAGE" ../../../disk.img && stat -c %a . && test -z "$SGW_PASSPHRASE" && echo seen';
    process.env['SGW_PASSPHRASE'] = 'secret';
    const last = await verified({ command }).finally(() => delete process.env['SGW_PASSPHRASE']);
    expect(last).toMatchObject({ ok: true, exitCode: 0, checkedBytes: MIB, share: 1, message: null, name: 'v1' });
    expect(last.output).toBe('700\nseen\n');
    const shown = await live.call('snapshot.show', { snapshot: 'v1' });
    expect(shown.verified).toMatchObject({ ok: true, exitCode: 0, checkedBytes: MIB, at: last.at });
    expect(leftIn(join(directory, 'home', 'verify'))).toEqual([]);
    expect(await runner.metrics()).toContain('sgw_schedule_verification_failed{volume="db"');
  });

  it('whose command fails, or takes too long, is told of', async () => {
    const last = await verified({ command: 'echo broken >&2; exit 3' });
    expect(last).toMatchObject({ ok: false, exitCode: 3, output: 'broken\n', message: 'the command ended with 3' });
    const status = await live.call('status', {});
    expect(status.snapshots).toEqual({ count: 1, unverified: 0, unsound: 1 });
    expect(status.remarks.join()).toContain('is not sound: the command ended with 3');
    aheadMs = 48 * HOUR;
    await live.call('schedule.set', { volume: 'db', verify: { command: 'sleep 60 & sleep 60', timeoutMs: 1000 } });
    const { verify } = await until((schedule) => schedule.verify?.last?.message?.includes('more than') === true);
    expect(verify?.last).toMatchObject({ ok: false, message: 'the command took more than 1000 ms' });
    expect(leftIn(join(directory, 'home', 'verify'))).toEqual([]);
  });

  it('of a snapshot that is damaged is an outcome, and the command is not asked', async () => {
    const image = join(directory, 'disk.img');
    await writeFile(image, Buffer.alloc(MIB, 'data'));
    await live.call('volume.import', { file: image, name: 'db' });
    await live.call('snapshot.create', { volume: 'db', name: 'v1' });
    const store = directoryStore({ path: join(directory, 'home', 'store') });
    for await (const { key } of store.list('volumes/')) {
      if (!key.includes('/log/')) continue;
      const { bytes } = (await store.get(key)) ?? { bytes: Buffer.alloc(0) };
      if (bytes.length < 1000) continue;
      bytes[200] = (bytes[200] ?? 0) ^ 1;
      await store.put(key, bytes);
    }
    await live.serve();
    const verify = { everyMs: 24 * HOUR, share: 0.5, command: 'exit 0' };
    await live.call('schedule.set', { volume: 'db', everyMs: HOUR, verify });
    runner = await live.runSchedules();
    const done = await until(({ verify }) => verify !== null && verify.last !== null);
    expect(done.verify?.last).toMatchObject({ ok: false, exitCode: null });
    expect((await live.call('snapshot.show', { snapshot: 'v1' })).verified?.ok).toBe(false);
  });

  it('makes a copy for the command where there is no nbdfuse', async () => {
    const command = 'cmp -n 1048576 "$SGW_IMAGE" ../../../disk.img && test -w "$SGW_IMAGE"';
    const last = await withoutFuse(async () => verified({ command }));
    expect(last).toMatchObject({ ok: true, exitCode: 0 });
    expect(leftIn(join(directory, 'home', 'verify'))).toEqual([]);
  });

  it('that meets damage only in the copy, beside the sample, is an outcome too', async () => {
    const image = join(directory, 'disk.img');
    await writeFile(image, randomBytes(40 * MIB));
    await live.call('volume.import', { file: image, name: 'db' });
    await live.call('snapshot.create', { volume: 'db', name: 'v1' });
    const store = directoryStore({ path: join(directory, 'home', 'store') });
    for await (const { key, sizeBytes } of store.list('volumes/')) {
      if (!key.includes('/log/') || sizeBytes < MIB) continue;
      const { bytes } = (await store.get(key)) ?? { bytes: Buffer.alloc(0) };
      bytes[200] = (bytes[200] ?? 0) ^ 1;
      await store.put(key, bytes);
      break;
    }
    await live.serve();
    const verify = { everyMs: 24 * HOUR, share: 0.01, command: 'test -s "$SGW_IMAGE"' };
    await live.call('schedule.set', { volume: 'db', everyMs: HOUR, verify });
    const done = await withoutFuse(async () => {
      runner = await live.runSchedules();
      return await until(({ verify }) => verify?.failure !== null || verify.last !== null);
    });
    expect(done.verify).toMatchObject({ failure: null, last: { ok: false, exitCode: null } });
    expect(leftIn(join(directory, 'home', 'verify'))).toEqual([]);
  });

  it('that a stop interrupts is owed still, and its command ends with it', async () => {
    const started = join(directory, 'started');
    const trying = verified({ command: `touch ${started}; sleep 300` });
    trying.catch(() => undefined);
    while (!existsSync(started)) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(statSync(join(directory, 'home', 'verify')).mode & 0o777).toBe(0o700);
    await runner.stop();
    expect(leftIn(join(directory, 'home', 'verify'))).toEqual([]);
    expect(await scheduleOf()).toMatchObject({ verify: { last: null, failure: null } });
  });
});

it(
  'what a killed gateway has left of a verification, its command too, is gone with the next start',
  { timeout: 60_000 },
  async () => {
    const folder = join(directory, 'home', 'verify', 'run-left');
    await mkdir(folder, { recursive: true });
    const begin = async (at: { cwd: string; env?: NodeJS.ProcessEnv }): Promise<unknown> => {
      const command = spawn('/bin/sh', ['-c', 'sleep 300; true'], { ...at, detached: true, stdio: 'ignore' });
      return await new Promise((resolve) =>
        command.once('exit', (_code, signal) => {
          resolve(signal);
        }),
      );
    };
    const within = begin({ cwd: folder });
    const elsewhere = begin({ cwd: tmpdir(), env: { ...process.env, TMPDIR: join(folder, 'tmp') } });
    runner = await live.runSchedules();
    expect(await within).toBe('SIGKILL');
    expect(await elsewhere).toBe('SIGKILL');
    while (existsSync(join(directory, 'home', 'verify'))) await new Promise((resolve) => setTimeout(resolve, 10));
  },
);

requireTool('nbdinfo').it('a command can read the snapshot over NBD, for reading only', async () => {
  const last = await verified({
    command: 'nbdinfo --size "$SGW_NBD_URI"; nbdinfo --can write "$SGW_NBD_URI" || echo read-only',
  });
  expect(last).toMatchObject({ ok: true, exitCode: 0, output: '1048576\nread-only\n' });
});
