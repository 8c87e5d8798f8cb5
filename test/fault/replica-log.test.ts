/** Replica logs on disks that lose power at any call, fail, or hold what nobody sent: PROTOCOL C13 and C26. */
import fc from 'fast-check';
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { seededRandom, systemClock, systemRandom } from '../../src/core/kit/index.ts';
import {
  directoryDisk,
  findLog,
  LOG_PAGE_BYTES,
  openReplicaLog,
  type LogDisk,
  type ReplicaLog,
  type SentRecord,
  type WriteLog,
} from '../../src/core/writelog/index.ts';
import { ForgetfulLogDisk } from './forgetful-log-disk.ts';
import { appendPages, FILE_PAGES, filled, openOn, valueOf } from './writelog-disk.ts';

const seed = Number(process.env['SGW_SEED'] ?? 13);

async function openReplica(disk: LogDisk): Promise<ReplicaLog> {
  return await openReplicaLog({
    disk,
    found: await findLog(disk),
    capacityBytes: 6 * FILE_PAGES * LOG_PAGE_BYTES,
    fileBytes: FILE_PAGES * LOG_PAGE_BYTES,
    clock: systemClock,
    random: systemRandom,
  });
}

/** A replica that follows `log` from its beginning, or from behind `behind`. */
async function following(log: WriteLog, disk: LogDisk, behind = 0): Promise<ReplicaLog> {
  const replica = await openReplica(disk);
  await replica.anew(log.incarnations, behind);
  return replica;
}

async function sendAll(log: WriteLog, replica: ReplicaLog, last = Infinity): Promise<void> {
  for (const record of log.sent(replica.position.received + 1, 1e9)) {
    if (record.sequence > last) return;
    while (!replica.hasRoom(record.pages.length)) await replica.room(record.pages.length, AbortSignal.timeout(2000));
    replica.append(record);
  }
}

/** A state of the disk that an opening may meet, and what was known of the log then. */
interface Left {
  readonly disk: ForgetfulLogDisk;
  readonly how: 'kill' | 'cut';
  readonly received: number;
  readonly synced: number;
  readonly isWhole: boolean;
}

describe('C13: a replica log', () => {
  it('C13: keeps what it synced when the power goes at any call, all when the process ends, and knows if it may lack some', async () => {
    const random = seededRandom(seed);
    const holderDisk = new ForgetfulLogDisk();
    const first = await openOn(holderDisk);
    await appendPages(first, 7);
    await first.close();
    const log = await openOn(holderDisk);
    await appendPages(log, 9, 8);
    const [old] = log.incarnations;
    if (old === undefined) throw new Error('the log has two incarnations');
    const disk = new ForgetfulLogDisk();
    const left: Left[] = [];
    let replica = await openReplica(disk);
    const note = (): void => {
      const { received, synced, isWhole } = replica.position;
      left.push({ disk: disk.afterKill().copy(), how: 'kill', received, synced, isWhole });
      for (let i = 0; i < 4; i++)
        left.push({ disk: disk.afterCut(random, 512), how: 'cut', received, synced, isWhole });
    };
    disk.onWrite = note;
    disk.onSync = note;
    await replica.anew([old], 0);
    await sendAll(log, replica, 4);
    await replica.sync();
    await sendAll(log, replica, 7);
    await replica.begin(log.incarnations[1] ?? old);
    await sendAll(log, replica, 12);
    await replica.caughtUp();
    await sendAll(log, replica, 14);
    await replica.close();
    replica = await openReplica(disk);
    await sendAll(log, replica);
    await replica.sync();
    await replica.close();
    disk.onWrite = undefined;
    disk.onSync = undefined;
    expect(left.length).toBeGreaterThan(120);
    const tally = { torn: 0, whole: 0, cutsWithLoss: 0 };
    for (const one of left) {
      const { damage } = await findLog(one.disk);
      const found = await openReplica(one.disk);
      const { received, isWhole } = found.position;
      if (damage !== null) {
        // Only the very first page may be torn away from under the rest: before anything was received.
        expect(one, damage).toMatchObject({ how: 'cut', received: 0 });
        continue;
      }
      expect(received).toBeGreaterThanOrEqual(one.how === 'kill' ? one.received : one.synced);
      if (isWhole) expect(received, 'a whole log lacks nothing').toBeGreaterThanOrEqual(one.received);
      if (isWhole) tally.whole += 1;
      if (one.how === 'kill' && one.isWhole) expect(isWhole).toBe(true);
      if (received < one.received) tally.torn += 1;
      if (received < one.received && one.isWhole) tally.cutsWithLoss += 1;
      // It goes on from there, and holds nothing else.
      if (found.position.incarnation === null) await found.anew([old], 0);
      for (const record of log.sent(found.position.received + 1, 1e9)) {
        const incarnation = log.incarnations.find((each) => each.incarnation === record.incarnation) ?? old;
        await found.begin(incarnation);
        found.append(record);
      }
      await found.caughtUp();
      await found.close();
      const opened = await openOn(one.disk);
      expect(opened.damage).toBeNull();
      expect(opened.usage.lastSequence).toBe(16);
      for (let i = 1; i <= 16; i++) expect(valueOf(opened, i)).toBe(i);
      await opened.close();
    }
    for (const [name, count] of Object.entries(tally)) expect(count, name).toBeGreaterThan(0);
    await log.close();
  });

  it('C13: is not whole after a sync that failed, also when only the process ends, until it has caught up', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    await appendPages(log, 5);
    const disk = new ForgetfulLogDisk();
    const replica = await following(log, disk);
    await sendAll(log, replica, 3);
    await replica.caughtUp();
    await sendAll(log, replica, 4);
    disk.failSyncs = 'EIO';
    await expect(replica.sync()).rejects.toMatchObject({ code: 'log-sync-failed' });
    disk.failSyncs = undefined;
    await expect(replica.sync()).rejects.toMatchObject({ code: 'log-sync-failed' });
    expect(() => {
      replica.append(log.sent(5, 0)[0] as SentRecord);
    }).toThrow(expect.objectContaining({ code: 'log-sync-failed' }) as Error);
    expect(replica.position).toMatchObject({ received: 4, synced: 3, isWhole: false });
    await replica.close();
    const again = await openReplica(disk);
    expect(again.position).toMatchObject({ received: 4, synced: 4, isWhole: false });
    await sendAll(log, again);
    await again.caughtUp();
    await again.close();
    const last = await openReplica(disk);
    expect(last.position.isWhole).toBe(true);
    await last.close();
    await log.close();
  });

  it('C13: an own log whose sync failed is not taken for whole as a replica, until it was opened again', async () => {
    const disk = new ForgetfulLogDisk();
    const log = await openOn(disk);
    await appendPages(log, 2);
    expect((await openReplica(disk.copy())).position.isWhole).toBe(true);
    disk.failSyncs = 'EIO';
    await expect(log.flush()).rejects.toMatchObject({ code: 'log-sync-failed' });
    disk.failSyncs = undefined;
    expect((await openReplica(disk.copy())).position).toMatchObject({ received: 2, isWhole: false });
    await (await openOn(disk)).close();
    expect((await openReplica(disk.copy())).position).toMatchObject({ received: 2, isWhole: true });
  });

  it('C13: sets a damaged log aside, and is empty and not whole then', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    await appendPages(log, 4);
    const disk = new ForgetfulLogDisk();
    const replica = await following(log, disk);
    await sendAll(log, replica);
    await replica.caughtUp();
    await replica.close();
    const bytes = disk.bytesOf('000000.log');
    bytes[2 * LOG_PAGE_BYTES + 20] = (bytes[2 * LOG_PAGE_BYTES + 20] ?? 0) ^ 1;
    const again = await openReplica(disk);
    expect(again.setAside).toBe('/aside/damaged');
    expect(again.position).toEqual({ incarnation: null, firstSequence: 1, received: 0, synced: 0, isWhole: false });
    await again.anew(log.incarnations, 0);
    await sendAll(log, again);
    expect(again.position).toMatchObject({ received: 4, isWhole: false });
    await again.close();
    await log.close();
  });

  it('does not hold pages back that were flipped on their way: reading finds them', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    await appendPages(log, 3);
    const disk = new ForgetfulLogDisk();
    const replica = await following(log, disk);
    for (const record of log.sent(1, 1e9)) {
      if (record.sequence === 2) record.pages[100] = (record.pages[100] ?? 0) ^ 1;
      replica.append(record);
    }
    await replica.caughtUp();
    expect((await findLog(disk)).damage).toMatch(/records 2 to 3 are lost/);
    await log.close();
  });
});

describe('C26: what a replica log takes', () => {
  it('C26: takes only the next record of the incarnation that was begun', async () => {
    const holderDisk = new ForgetfulLogDisk();
    const first = await openOn(holderDisk);
    await appendPages(first, 3);
    await first.close();
    const log = await openOn(holderDisk);
    await appendPages(log, 2, 4);
    const [old, newest] = log.incarnations;
    if (old === undefined || newest === undefined) throw new Error('the log has two incarnations');
    const replica = await openReplica(new ForgetfulLogDisk());
    const records = log.sent(1, 1e9);
    const append = (index: number, change: Partial<SentRecord> = {}): void => {
      replica.append({ ...(records[index] as SentRecord), ...change });
    };
    const notNext = expect.objectContaining({ kind: 'conflict', code: 'record-not-next' }) as Error;
    expect(() => {
      append(0);
    }).toThrow(notNext);
    await replica.anew([old], 0);
    append(0);
    for (const index of [0, 2, 3])
      expect(() => {
        append(index);
      }).toThrow(notNext);
    expect(() => {
      append(1, { epoch: 9 });
    }).toThrow(notNext);
    await expect(replica.begin(newest)).rejects.toMatchObject({ code: 'record-not-next' });
    append(1);
    append(2);
    expect(() => {
      append(3);
    }).toThrow(notNext);
    await replica.begin(newest);
    await replica.begin(newest);
    append(3);
    append(4);
    await expect(replica.begin(old)).rejects.toMatchObject({ code: 'record-not-next' });
    expect(replica.position).toMatchObject({ incarnation: newest.incarnation, received: 5, firstSequence: 1 });
    expect(replica.incarnations.map((one) => one.incarnation)).toEqual([old.incarnation, newest.incarnation]);
    await replica.close();
    await log.close();
  });

  it('takes no record that a log could not have made, and every one that it could, whatever bytes come', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    await Promise.all([
      log.append(5, filled(1, 2)),
      log.appendSectors(9, 3, filled(2)),
      log.appendZeroes(1, 2),
      log.appendResize(1 << 20),
    ]);
    await log.appendBarrier('snap-1');
    const [good, barrier] = log.sent(1, 1e9);
    if (good === undefined || barrier === undefined) throw new Error('the log has two records');
    const disk = new ForgetfulLogDisk();
    const replica = await following(log, disk);
    await replica.sync();
    const odd: Record<string, fc.Arbitrary<unknown>> = {
      sequence: fc.constantFrom(1, 2, -1, 0.5, NaN),
      extentCount: fc.nat(8),
      uploadedSequence: fc.constantFrom(0, 1, 7, -1, NaN),
      appendedMs: fc.oneof(fc.maxSafeNat(), fc.double()),
      incarnation: fc.constantFrom(good.incarnation, 'x', ''),
      pages: fc.nat(4 * LOG_PAGE_BYTES).map((length) => Buffer.alloc(length, 7)),
      body: fc.uint8Array({ maxLength: 4100 }).map((bytes) => Buffer.from(bytes)),
    };
    const fields: fc.Arbitrary<Partial<SentRecord>> = fc.oneof(
      { weight: 5, arbitrary: fc.constant({}) },
      ...Object.entries(odd).map(([name, value]) => value.map((one) => ({ [name]: one }))),
    );
    const flips = fc.array(fc.record({ at: fc.nat(), to: fc.nat(255) }), { maxLength: 3 });
    const whole = disk.copy();
    let taken = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(fields, flips, fc.boolean(), async (changed, flipped, isBarrier) => {
        const base = isBarrier ? { ...barrier, sequence: 1 } : good;
        const body = Buffer.from(base.body);
        for (const { at, to } of flipped) body[at % body.length] = to;
        const record: SentRecord = { ...base, body, ...changed };
        const copy = whole.copy();
        const target = await openReplica(copy);
        try {
          target.append(record);
          taken += 1;
        } catch (error) {
          refused += 1;
          expect(['record-malformed', 'record-not-next']).toContain((error as { code?: string }).code);
          expect(target.position.received).toBe(0);
          await target.close();
          return;
        }
        await target.close();
        const found = await findLog(copy);
        // Its header is what every reader accepts; its pages may be others than its checksums say.
        if (found.lastSequence === 0) return;
        const opened = await openOn(copy);
        expect(opened.records(1, 1e9).map(({ extents }) => extents.length)).toEqual([record.extentCount]);
        await opened.close();
      }),
      { seed, numRuns: Number(process.env['SGW_RUNS'] ?? 300) },
    );
    expect(taken).toBeGreaterThan(20);
    expect(refused).toBeGreaterThan(20);
    await replica.close();
    await log.close();
  });

  it('waits for room, and has it when the store has what the files hold', async () => {
    const log = await openOn(new ForgetfulLogDisk(), 0, 30);
    await appendPages(log, 150);
    const replica = await following(log, new ForgetfulLogDisk());
    const records = log.sent(1, 1e9);
    for (const record of records) {
      if (!replica.hasRoom(record.pages.length)) {
        const waiting = replica.room(record.pages.length, AbortSignal.timeout(200)).then(
          () => 'room',
          () => 'none',
        );
        if ((await waiting) === 'none') break;
      }
      replica.append(record);
    }
    const { received } = replica.position;
    // Twice the buffer of six files, of seven records each.
    expect(received).toBeGreaterThanOrEqual(12 * 7 - 1);
    expect(received).toBeLessThan(150);
    const next = records[received] as SentRecord;
    expect(() => {
      replica.append(next);
    }).toThrow(expect.objectContaining({ kind: 'exhausted', code: 'log-full' }) as Error);
    const waiting = replica.room(next.pages.length, AbortSignal.timeout(2000));
    replica.uploaded(20);
    await waiting;
    replica.append(next);
    expect(replica.position.received).toBe(received + 1);
    expect(replica.position.firstSequence).toBeGreaterThan(7);
    await expect(replica.room(FILE_PAGES * LOG_PAGE_BYTES)).rejects.toMatchObject({ code: 'log-too-small' });
    await replica.close();
    await log.close();
  });
});

describe('C28: a log that the new reign does not continue', () => {
  it('C28: is set aside, named, where it has records that nobody else may have', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sgw-replica-'));
    try {
      const log = await openOn(new ForgetfulLogDisk());
      await appendPages(log, 5);
      const path = join(folder, 'log');
      const replica = await following(log, directoryDisk(path));
      await sendAll(log, replica);
      replica.uploaded(3);
      // Somebody took over at record 4, and has come to 6.
      const other = await openOn(new ForgetfulLogDisk(), 4);
      await appendPages(other, 2, 50);
      const { setAside } = await replica.anew([...log.incarnations, ...other.incarnations], 4);
      expect(setAside).toBe(join(folder, 'log-diverged-1'));
      await sendAll(other, replica);
      expect(replica.position).toMatchObject({ received: 6, firstSequence: 5 });
      await replica.close();
      expect((await readdir(folder)).sort()).toEqual(['log', 'log-diverged-1']);
      const aside = await openOn(directoryDisk(join(folder, 'log-diverged-1')), 3);
      expect(valueOf(aside, 5)).toBe(5);
      await aside.close();
      // By one rename it is the volume's own.
      await rename(path, join(folder, 'own'));
      const own = await openOn(directoryDisk(join(folder, 'own')), 4);
      expect([50, 51].map((page) => valueOf(own, page))).toEqual([50, 51]);
      expect(own.usage).toMatchObject({ lastSequence: 6, uploadedSequence: 4 });
      await own.close();
      await other.close();
      await log.close();
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('C28: goes on in its files where all it has is in the store', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    await appendPages(log, 5);
    const disk = new ForgetfulLogDisk();
    const replica = await following(log, disk);
    await sendAll(log, replica);
    replica.uploaded(5);
    const other = await openOn(new ForgetfulLogDisk(), 9);
    await appendPages(other, 2, 50);
    const { setAside } = await replica.anew(other.incarnations, 9);
    expect(setAside).toBeNull();
    expect(disk.asides).toEqual([]);
    await sendAll(other, replica);
    await replica.close();
    const own = await openOn(disk, 9);
    expect(own.usage.lastSequence).toBe(11);
    expect([1, 50, 51].map((page) => valueOf(own, page))).toEqual([undefined, 50, 51]);
    await own.close();
    await other.close();
    await log.close();
  });
});
