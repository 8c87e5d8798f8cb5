import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SgwError } from '../../../src/core/kit/index.ts';
import { newOwner } from '../../../src/core/state/lock-owner.ts';
import { acquireLock, lockHolder, type LockOwner, type LockRequest } from '../../../src/core/state/index.ts';

const RACER = fileURLToPath(new URL('lock-racer.ts', import.meta.url));
const NAME = 'volume:vol-1';

let home: string;
let children: ChildProcessByStdio<null, Readable, null>[] = [];
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'sgw-lock-'));
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children = [];
  await rm(home, { recursive: true, force: true });
});

const take = async (options: Partial<LockRequest> = {}) =>
  acquireLock({ home, name: NAME, purpose: 'testing', ...options });
const files = async (): Promise<string[]> => readdir(join(home, 'locks'));

function plant(owner: Partial<LockOwner>, file = 'volume+vol-1.lock'): LockOwner {
  const whole = { ...newOwner('0123456789abcdef', 'planted', 0), ...owner };
  symlinkSync(JSON.stringify(whole), join(home, 'locks', file));
  return whole;
}

function racer(count: number): ChildProcessByStdio<null, Readable, null> {
  const args = [RACER, home, join(home, 'counter'), String(count)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  child.stdout.setEncoding('utf8');
  children.push(child);
  return child;
}

describe('a lock', () => {
  it('is held by one, and free after its release', async () => {
    const lock = await take();
    await expect(take({ timeoutMs: 0 })).rejects.toMatchObject({ kind: 'unavailable', code: 'locked' });
    expect(await lockHolder(home, NAME)).toMatchObject({ pid: process.pid, purpose: 'testing' });
    const other = await take({ name: 'home', timeoutMs: 0 });
    await other.release();
    await lock.release();
    await lock.release();
    expect(await lockHolder(home, NAME)).toBeUndefined();
    expect(await files()).toEqual([]);
  });

  it('says who holds it, for what and since when', async () => {
    const lock = await take({ purpose: 'importing golden.img' });
    const error = (await take({ timeoutMs: 0 }).catch((reason: unknown) => reason)) as SgwError;
    expect(error.message).toContain(
      `volume vol-1 is locked by process ${String(process.pid)} (importing golden.img) since 20`,
    );
    expect(error.details).toMatchObject({ pid: process.pid, purpose: 'importing golden.img', lock: NAME });
    await lock[Symbol.asyncDispose]();
  });

  it('is waited for until the timeout, not longer', async () => {
    const lock = await take();
    const waiting = take({ timeoutMs: 10_000 });
    await lock.release();
    const next = await waiting;
    const startedMs = performance.now();
    await expect(take({ timeoutMs: 80 })).rejects.toMatchObject({ code: 'locked' });
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(79);
    await next.release();
  });

  it('a signal ends the wait with its reason', async () => {
    const lock = await take();
    const stop = new AbortController();
    const waiting = take({ signal: stop.signal });
    stop.abort(new SgwError('timeout', 'deadline', 'the deadline passed'));
    await expect(waiting).rejects.toMatchObject({ code: 'deadline' });
    await lock.release();
  });

  it('makes the home and the folder of locks, 0700', async () => {
    const lock = await take({ home: join(home, 'new') });
    for (const path of ['new', 'new/locks']) expect((await stat(join(home, path))).mode & 0o777).toBe(0o700);
    await lock.release();
  });
});

describe('the owner of a lock', () => {
  beforeEach(async () => mkdir(join(home, 'locks')));

  it.runIf(process.platform === 'linux').each([
    ['another boot', { bootId: '00000000-0000-0000-0000-000000000000' }],
    ['a process id that is in use again', { startTicks: '1' }],
    ['no such process', { pid: 2 ** 22 + 1 }],
    ['no such process, without /proc', { pid: 2 ** 22 + 1, startTicks: null, bootId: null, pidNamespace: null }],
  ])('that is dead (%s) does not keep it', async (_, owner) => {
    plant(owner);
    expect(await lockHolder(home, NAME)).toBeUndefined();
    const lock = await take({ timeoutMs: 0 });
    expect(await files()).toEqual(['volume+vol-1.lock']);
    await lock.release();
  });

  it.each([
    ['however old', { since: '1970-01-01T00:00:00.000Z' }],
    ['without /proc', { startTicks: null, bootId: null, pidNamespace: null }],
    ['in another container, where ids say nothing', { pid: 2 ** 22 + 1, pidNamespace: 'pid:[1]' }],
  ])('that lives keeps it (%s)', async (_, owner) => {
    plant(owner);
    await expect(take({ timeoutMs: 0 })).rejects.toMatchObject({ code: 'locked' });
  });

  it('a guard that a killed process left is removed in the same way, at any depth, with all litter', async () => {
    const dead = { pid: 2 ** 22 + 1 };
    plant(dead);
    plant({ ...dead, token: '1111111111111111' }, 'volume+vol-1.lock.0123456789abcdef');
    plant({ ...dead, token: '2222222222222222' }, 'volume+vol-1.lock.0123456789abcdef.1111111111111111');
    plant({ ...dead, token: '3333333333333333' }, 'volume+vol-1.lock.ffffffffffffffff');
    const lock = await take({ timeoutMs: 5000 });
    expect(await files()).toEqual(['volume+vol-1.lock']);
    await lock.release();
  });

  it('that is dead is removed once: of many that find it, one at a time holds the lock', async () => {
    for (let round = 0; round < 40; round++) {
      plant({ pid: 2 ** 22 + 1, token: round.toString(16).padStart(16, '0') });
      let holders = 0;
      const contend = async (): Promise<void> => {
        const lock = await take();
        holders += 1;
        expect(holders).toBe(1);
        await new Promise((resume) => setImmediate(resume));
        holders -= 1;
        await lock.release();
      };
      await Promise.all(Array.from({ length: 6 }, contend));
      expect(await files()).toEqual([]);
    }
  });

  it('a guard that a living process holds is respected', async () => {
    plant({ pid: 2 ** 22 + 1 });
    plant({ token: '1111111111111111' }, 'volume+vol-1.lock.0123456789abcdef');
    await expect(take({ timeoutMs: 0 })).rejects.toMatchObject({ code: 'locked' });
    expect(await files()).toHaveLength(2);
  });

  it('a file that is no lock is reported and left alone', async () => {
    writeFileSync(join(home, 'locks', 'volume+vol-1.lock'), 'notes');
    await expect(take({ timeoutMs: 0 })).rejects.toMatchObject({ kind: 'unavailable', code: 'lock-unreadable' });
    expect(await files()).toEqual(['volume+vol-1.lock']);
  });

  it('a lock that can not be made is reported by its path, not by its text', async () => {
    await rm(join(home, 'locks'), { recursive: true });
    writeFileSync(join(home, 'locks'), '');
    const path = join(home, 'locks', 'volume+vol-1.lock');
    await expect(take()).rejects.toMatchObject({
      code: 'system-enotdir',
      message: `${path} is not a directory`,
      details: { path },
    });
  });
});

describe('processes that are killed', () => {
  it('while holding it, lose it to the next', async () => {
    const child = racer(0);
    await new Promise((held) => child.stdout.once('data', held));
    await expect(take({ timeoutMs: 0 })).rejects.toMatchObject({ details: { pid: child.pid ?? 0 } });
    child.kill('SIGKILL');
    await new Promise((gone) => child.once('close', gone));
    await (await take({ timeoutMs: 0 })).release();
  });

  it('eight processes count under a lock while some are killed: no count is lost, nobody waits for ever', async () => {
    writeFileSync(join(home, 'counter'), '0');
    let reported = 0;
    const ends = Array.from({ length: 8 }, async (_, i) => {
      const child = racer(40);
      // Killed after their 5th, 10th and 15th report, so most likely inside the lock or waiting for it.
      const killAfter = i < 3 ? (i + 1) * 5 : Number.POSITIVE_INFINITY;
      let reports = 0;
      child.stdout.on('data', (part: string) => {
        reports += part.split('\n').length - 1;
        if (reports >= killAfter) child.kill('SIGKILL');
      });
      const code = await new Promise((done) => child.once('close', done));
      reported += reports;
      return code;
    });
    const codes = await Promise.all(ends);
    expect(codes.filter((code) => code === 0).length).toBeGreaterThanOrEqual(5);
    const counted = Number(readFileSync(join(home, 'counter'), 'utf8'));
    expect(counted).toBeGreaterThanOrEqual(reported);
    // A killed process may have counted without reporting a few that its pipe still held.
    expect(counted - reported).toBeLessThanOrEqual(codes.filter((code) => code !== 0).length);
  }, 60_000);
});
