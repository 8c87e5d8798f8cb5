/** A process that appends to a write log in real files and is killed with SIGKILL: nothing acknowledged is lost. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock, systemRandom } from '../../src/core/kit/index.ts';
import { directoryDisk, findLog, LOG_PAGE_BYTES, openLog, type WriteLog } from '../../src/core/writelog/index.ts';

const CHILD = fileURLToPath(new URL('writelog-child.ts', import.meta.url));
const KILLS = 8;
const PAGES = 200;

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sgw-writelog-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Runs the child until it has acknowledged some, kills it, and returns up to which version it acknowledged. */
async function killed(log: string, start: number, groups: number): Promise<number> {
  const child = spawn(process.execPath, [CHILD, log, String(start)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
    if (text.split('\n').length > groups || text.includes('full')) child.kill('SIGKILL');
  });
  await once(child, 'close');
  expect(child.signalCode).toBe('SIGKILL');
  const lines = text.slice(0, text.lastIndexOf('\n')).split('\n');
  return Math.max(start, ...lines.filter((line) => line.startsWith('a ')).map((line) => Number(line.slice(2))));
}

/** The newest version in the log; fails unless each page has its newest version up to that one. */
function newestVersion(log: WriteLog): number {
  const target = Buffer.alloc(LOG_PAGE_BYTES);
  const versions = new Map<number, number>();
  for (let page = 0; page < PAGES; page++) {
    const slot = log.lookup(page);
    if (slot < 0) continue;
    log.readSlots(slot, target);
    expect(target.readDoubleLE(0)).toBe(page);
    const version = target.readDoubleLE(LOG_PAGE_BYTES - 8);
    expect(target.subarray(8, LOG_PAGE_BYTES - 8).every((byte) => byte === (version & 0xff))).toBe(true);
    versions.set(page, version);
  }
  const newest = Math.max(0, ...versions.values());
  for (let version = Math.max(1, newest - PAGES + 1); version <= newest; version++) {
    expect(versions.get(version % PAGES)).toBe(version);
  }
  return newest;
}

it('C13: kill -9 loses no acknowledged append, in any of its incarnations', { timeout: 120_000 }, async () => {
  const path = join(folder, 'volumes', 'log');
  let version = 0;
  for (let kill = 1; kill <= KILLS; kill++) {
    const acknowledged = await killed(path, version, 3 + Math.floor(systemRandom.float() * 60));
    const disk = directoryDisk(path);
    const found = await findLog(disk);
    expect(found.damage).toBeNull();
    expect(found.incarnations).toHaveLength(kill);
    const log = await openLog({
      disk,
      found,
      capacityBytes: 2 ** 22,
      clock: systemClock,
      readOnly: true,
      incarnation: { incarnation: '0'.repeat(16), epoch: 1, baseSeq: 0, uploadedSequence: 0 },
    });
    version = newestVersion(log);
    // Groups are acknowledged one by one, so there may be one more of at most 8 pages.
    expect(version).toBeGreaterThanOrEqual(acknowledged);
    expect(version).toBeLessThanOrEqual(acknowledged + 8);
    await log.close();
  }
  expect(version).toBeGreaterThan(KILLS);
  const { mode } = await stat(path);
  expect(mode & 0o777).toBe(0o700);
  expect((await stat(join(path, '000000.log'))).mode & 0o777).toBe(0o600);
});
