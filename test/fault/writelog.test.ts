/** The write log on disks that fail and with files that are damaged: PROTOCOL C13. */
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { findLog, LOG_PAGE_BYTES } from '../../src/core/writelog/index.ts';
import { ForgetfulLogDisk } from './forgetful-log-disk.ts';
import { appendPages, FILE_PAGES, filled, openOn, valueOf } from './writelog-disk.ts';

const seed = Number(process.env['SGW_SEED'] ?? 13);

/** A log of five flushed records and one that tells so, over two incarnations. */
async function flushedLog(): Promise<ForgetfulLogDisk> {
  const disk = new ForgetfulLogDisk();
  const log = await openOn(disk);
  await appendPages(log, 3);
  await log.close();
  const again = await openOn(disk);
  await appendPages(again, 2, 4);
  await again.flush();
  await appendPages(again, 1, 6);
  await again.flush();
  return disk;
}

/** Bytes of an entry's header that count. */
const usedBytes = (page: Buffer): number => page.readUInt32LE(12);

describe('C13: damage and torn tails', () => {
  it('C13: a flipped bit in a flushed record is damage, and says which records are lost', async () => {
    const disk = await flushedLog();
    const name = '000000.log';
    const random = seededRandom(seed);
    let tried = 0;
    for (let page = 1; page < FILE_PAGES; page++) {
      const bytes = disk.bytesOf(name).subarray(page * LOG_PAGE_BYTES, (page + 1) * LOG_PAGE_BYTES);
      const isHeader = bytes.toString('latin1', 0, 8) === 'SGWLGR1\n';
      if (!isHeader && bytes.every((byte) => byte === 0)) break;
      // The last record has no other behind it that could tell.
      const isLast = isHeader && bytes.readUInt32LE(48) === 6 && bytes.readUInt32LE(44) === 1;
      if (isLast) break;
      for (let round = 0; round < 8; round++) {
        const damaged = disk.copy();
        const bit = Math.floor(random.float() * (isHeader ? usedBytes(bytes) : LOG_PAGE_BYTES) * 8);
        const at = page * LOG_PAGE_BYTES + (bit >> 3);
        damaged.bytesOf(name)[at] = (damaged.bytesOf(name)[at] as number) ^ (1 << (bit & 7));
        const found = await findLog(damaged);
        expect(found.damage, `bit ${bit} of page ${page}`).toMatch(/records? \d+ .*are lost/);
        tried += 1;
        const log = await openOn(damaged);
        expect(log.damage).toBe(found.damage);
        expect(log.incarnation).toBeNull();
        // What comes before is there, and nothing else.
        for (let i = 1; i <= 6; i++) expect(valueOf(log, i)).toBe(i <= found.lastSequence ? i : undefined);
        expect(found.lastSequence).toBeLessThan(6);
        await expect(log.append(1, filled(1))).rejects.toMatchObject({ kind: 'corrupt', code: 'log-damaged' });
        await log.close();
      }
    }
    expect(tried).toBeGreaterThan(90);
  });

  it('C13: a flipped bit in what was never flushed is a torn tail after a loss of power', async () => {
    const disk = new ForgetfulLogDisk();
    const log = await openOn(disk);
    await appendPages(log, 2);
    await log.flush();
    await appendPages(log, 3, 3);
    const found = disk.afterCut(seededRandom(1), 512);
    const all = disk.copy();
    all.bootId = found.bootId;
    // Header and data of record 3.
    for (const page of [6, 7]) {
      const damaged = all.copy();
      damaged.bytesOf('000000.log')[page * LOG_PAGE_BYTES + 20] = 0xa5;
      const again = await openOn(damaged);
      expect(again.damage).toBeNull();
      expect(again.usage.lastSequence).toBe(2);
      await appendPages(again, 1, 9);
      expect(again.usage.lastSequence).toBe(3);
      expect([1, 2, 3, 4, 9].map((i) => valueOf(again, i))).toEqual([1, 2, undefined, undefined, 9]);
      await again.close();
    }
  });

  it('C13: it is damage when the machine has run on since: only the process ended', async () => {
    const disk = new ForgetfulLogDisk();
    await appendPages(await openOn(disk), 5);
    const damaged = disk.copy();
    damaged.bytesOf('000000.log')[5 * LOG_PAGE_BYTES] = 0;
    expect((await findLog(damaged)).damage).toMatch(/records 2 to 5 are lost/);
    damaged.bootId = '2'.repeat(32);
    expect((await findLog(damaged)).damage).toBeNull();
  });

  it('C13: damage to records that are in the store is no damage, and what follows them is kept', async () => {
    const disk = await flushedLog();
    const damaged = disk.copy();
    damaged.bytesOf('000000.log')[3 * LOG_PAGE_BYTES + 9] = 0xff;
    expect((await findLog(damaged)).damage).toMatch(/records 1 to/);
    expect((await findLog(damaged, { uploadedSequence: 3 })).damage).toBeNull();
    const log = await openOn(damaged, 3);
    expect(log.damage).toBeNull();
    expect([3, 4, 5, 6].map((i) => valueOf(log, i))).toEqual([undefined, 4, 5, 6]);
    expect(log.usage.lastSequence).toBe(6);
    await appendPages(log, 1, 7);
    await log.close();
  });

  it('C13: what the store has is known from entries too, where the first page that told of it was given up', async () => {
    const disk = new ForgetfulLogDisk();
    const log = await openOn(disk, 0, 3);
    // Three files of seven records each; then the first one is used again, and tells that the store has ten.
    await appendPages(log, 16);
    await log.flush();
    await appendPages(log, 5, 17);
    log.uploaded(10);
    await appendPages(log, 1, 22);
    const cut = disk.copy();
    cut.bootId = '2'.repeat(32);
    // Records 17 and later did not get to the disk, and only the first page of the file used again did.
    cut.bytesOf('000002.log').fill(0, 6 * LOG_PAGE_BYTES);
    cut.bytesOf('000000.log').fill(0, LOG_PAGE_BYTES);
    expect(await findLog(cut)).toMatchObject({ damage: null, lastSequence: 16, uploadedSequence: 10 });
    const again = await openOn(cut, 10, 3);
    await appendPages(again, 2, 17);
    await again.close();
    expect(await findLog(cut)).toMatchObject({ damage: null, lastSequence: 18, uploadedSequence: 10 });
    const last = await openOn(cut, 10, 3);
    expect([11, 16, 17, 18].map((i) => valueOf(last, i))).toEqual([11, 16, 17, 18]);
    await last.close();
  });

  it.each([1, 2, 3, 4, 5, 6])(
    'C13: a file that has only notes is not used again before what comes before it (%i openings)',
    async (openings) => {
      const disk = new ForgetfulLogDisk();
      const log = await openOn(disk, 0, 12, 4);
      await appendPages(log, 1);
      await log.close();
      // Three pages behind the first one of each file: these openings write nothing but notes.
      for (let opening = 1; opening < openings; opening++) await (await openOn(disk, 0, 12, 4)).close();
      const last = await openOn(disk, 0, 12, 4);
      await appendPages(last, 4, 2);
      await last.close();
      expect(await findLog(disk)).toMatchObject({ damage: null, lastSequence: 5 });
      const again = await openOn(disk, 0, 12, 4);
      for (let page = 1; page <= 5; page++) expect(valueOf(again, page)).toBe(page);
      await again.close();
    },
  );

  it('C13: a failed sync is remembered: every later flush and append fails, also after the disk works again', async () => {
    const disk = new ForgetfulLogDisk();
    const log = await openOn(disk);
    await appendPages(log, 1);
    await log.flush();
    await appendPages(log, 1, 2);
    disk.failSyncs = 'EIO';
    const shared = [log.flush(), log.flush()];
    for (const one of shared) await expect(one).rejects.toMatchObject({ kind: 'unavailable', code: 'log-sync-failed' });
    disk.failSyncs = undefined;
    const { syncs } = disk;
    await expect(log.flush()).rejects.toMatchObject({ code: 'log-sync-failed' });
    await expect(log.append(3, filled(3))).rejects.toMatchObject({ code: 'log-sync-failed' });
    await expect(log.room(4096)).rejects.toMatchObject({ code: 'log-sync-failed' });
    expect(log.hasRoom(4096)).toBe(false);
    expect(disk.syncs).toBe(syncs);
    expect(log.usage.flushedSequence).toBe(1);
    expect([1, 2].map((i) => valueOf(log, i))).toEqual([1, 2]);
    await log.close();
    // The kernel took what it could not write for written: the next opening writes it again.
    const again = await openOn(disk.afterKill());
    expect([1, 2].map((i) => valueOf(again, i))).toEqual([1, 2]);
    await again.close();
  });

  it('C13: what a failed sync lost is written again by the next opening', async () => {
    const disk = new ForgetfulLogDisk();
    const log = await openOn(disk);
    await appendPages(log, 3);
    disk.failSyncs = 'EIO';
    await expect(log.flush()).rejects.toMatchObject({ code: 'log-sync-failed' });
    await log.close();
    const killed = disk.afterKill();
    await openOn(killed);
    // Nothing that this opening found may be lost any more.
    for (let round = 0; round < 20; round++) {
      const cut = killed.afterCut(seededRandom(round), 512);
      const again = await openOn(cut.copy());
      expect([1, 2, 3].map((i) => valueOf(again, i))).toEqual([1, 2, 3]);
      await again.close();
    }
  });
});

describe('an append that does not fit into the file', () => {
  const PAGES = 10;

  /** What kills and cuts of the power at any moment leave of it: how many of its pages. */
  async function leftOf(how: 'append' | 'appendWhole'): Promise<Set<number>> {
    const random = seededRandom(seed);
    const disk = new ForgetfulLogDisk();
    const log = await openOn(disk);
    await appendPages(log, 4);
    await log.flush();
    const found = [disk.copy()];
    disk.onWrite = () => {
      found.push(disk.copy());
      for (let i = 0; i < 30; i++) found.push(disk.afterCut(random, 512));
    };
    await log[how](100, filled(7, PAGES));
    await appendPages(log, 1, 5);
    await log.flush();
    disk.onWrite();
    await log.close();
    const left = new Set<number>();
    for (const one of found) {
      const again = await openOn(one);
      expect([1, 2, 3, 4].map((i) => valueOf(again, i))).toEqual([1, 2, 3, 4]);
      left.add(Array.from({ length: PAGES }, (_, i) => valueOf(again, 100 + i)).filter((value) => value === 7).length);
      await again.close();
    }
    return left;
  }

  it('is there as a whole or not at all, at whatever moment the process ends or the power goes', async () => {
    expect(await leftOf('appendWhole')).toEqual(new Set([0, PAGES]));
  });

  it('is there in part at some moments when it is in pieces', async () => {
    expect((await leftOf('append')).size).toBeGreaterThan(2);
  });
});

describe('a write log on a failing disk', () => {
  it.each(['ENOSPC', 'EIO'])(
    'fails for good when a write fails with %s, and keeps what was acknowledged',
    async (code) => {
      const disk = new ForgetfulLogDisk();
      const log = await openOn(disk);
      await appendPages(log, 3);
      await log.flush();
      disk.failWrites = code;
      const failed = log.append(2, filled(99));
      await expect(failed).rejects.toMatchObject({
        code: 'log-write-failed',
        kind: code === 'ENOSPC' ? 'exhausted' : 'unavailable',
      });
      disk.failWrites = undefined;
      await expect(log.append(4, filled(4))).rejects.toMatchObject({ code: 'log-write-failed' });
      await expect(log.flush()).rejects.toMatchObject({ code: 'log-write-failed' });
      expect(log.failure).toMatchObject({ code: 'log-write-failed' });
      // Old or new, but no mixture.
      expect([2, 99]).toContain(valueOf(log, 2));
      expect([1, 3].map((i) => valueOf(log, i))).toEqual([1, 3]);
      expect(log.records(1, 1e9).map((record) => record.sequence)).toEqual([1, 2, 3]);
      log.uploaded(3);
      await log.close();
      const again = await openOn(disk.afterKill());
      expect([1, 2, 3].map((i) => valueOf(again, i))).toEqual([1, 2, 3]);
      await again.close();
    },
  );

  it('lets writers wait when no file can be made, until others are free', async () => {
    const disk = new ForgetfulLogDisk();
    const log = await openOn(disk);
    disk.failOpens = 'ENOSPC';
    let appended = 0;
    while (log.hasRoom(LOG_PAGE_BYTES)) await appendPages(log, 1, ++appended);
    const waiting = log.room(LOG_PAGE_BYTES);
    await new Promise((resolve) => setImmediate(resolve));
    expect(log.failure).toBeUndefined();
    log.uploaded(appended);
    await waiting;
    await appendPages(log, 1, 200);
    expect(valueOf(log, 200)).toBe(200);
    await log.close();
  });

  it('reports a page that the disk can not read as damage, not as a torn tail', async () => {
    const disk = await flushedLog();
    const again = disk.copy();
    again.bootId = '3'.repeat(32);
    again.failReads = { name: '000000.log', page: 5 };
    const found = await findLog(again);
    expect(found.damage).toMatch(/records 2 to/);
    expect(found.lastSequence).toBe(1);
  });
});

describe('a write log whose files were tampered with', () => {
  async function twoFiles(): Promise<ForgetfulLogDisk> {
    const disk = new ForgetfulLogDisk();
    const log = await openOn(disk);
    await appendPages(log, 18);
    await log.flush();
    await appendPages(log, 1, 19);
    await log.flush();
    await log.close();
    return disk.copy();
  }

  it('takes files that were swapped for damage', async () => {
    const disk = await twoFiles();
    const first = disk.files.get('000000.log');
    const second = disk.files.get('000001.log');
    expect(second?.live.toString('latin1', 0, 8)).toBe('SGWLGF1\n');
    disk.files.set('000000.log', second as never);
    disk.files.set('000001.log', first as never);
    expect((await findLog(disk)).damage).toMatch(/was renamed/);
  });

  it('takes a file of another log for damage, and leaves it alone', async () => {
    const disk = await twoFiles();
    const other = await twoFiles();
    disk.files.set('000001.log', other.files.get('000001.log') as never);
    const before = Buffer.from(disk.bytesOf('000001.log'));
    const log = await openOn(disk);
    expect(log.damage).toMatch(/another write log/);
    await log.close();
    expect(disk.bytesOf('000001.log').equals(before)).toBe(true);
  });

  it('takes a missing file for damage when later records know that it was flushed', async () => {
    for (const name of ['000000.log', '000001.log']) {
      const disk = await twoFiles();
      disk.files.delete(name);
      const found = await findLog(disk);
      expect(found.damage, name).toMatch(/are lost/);
    }
  });

  it('takes a damaged first page of a file for damage', async () => {
    for (const name of ['000000.log', '000001.log']) {
      const disk = await twoFiles();
      disk.bytesOf(name)[40] = 0x77;
      expect((await findLog(disk)).damage, name).not.toBeNull();
    }
    const disk = await flushedLog();
    disk.bytesOf('000000.log')[40] = 0x77;
    expect((await findLog(disk)).damage).toMatch(/the first page of 000000.log/);
  });

  it('survives files that are cut off, zeroed or overwritten with noise anywhere, and never shows what was not written', async () => {
    const random = seededRandom(seed);
    for (let round = 0; round < 150; round++) {
      const disk = await twoFiles();
      const names = [...disk.files.keys()];
      const name = names[Math.floor(random.float() * names.length)] as string;
      const bytes = disk.bytesOf(name);
      const at = Math.floor(random.float() * bytes.length);
      const kind = random.float();
      const node = disk.files.get(name) as { live: Buffer };
      if (kind < 0.3) node.live = Buffer.from(bytes.subarray(0, at));
      else if (kind < 0.6) bytes.fill(0, at, Math.min(bytes.length, at + LOG_PAGE_BYTES));
      else random.bytes(Math.min(bytes.length - at, 700)).copy(bytes, at);
      const found = await findLog(disk);
      const log = await openOn(disk);
      const { lastSequence } = found;
      for (let i = 1; i <= 19; i++) expect(valueOf(log, i), `page ${i}`).toBe(i <= lastSequence ? i : undefined);
      // Shorter, but silent: only the end of the log, which nothing behind it vouches for.
      if (found.damage === null) expect(lastSequence).toBeGreaterThanOrEqual(18);
      await log.close();
    }
  });
});
