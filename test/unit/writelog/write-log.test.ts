/** The open write log, call by call. */
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { findLog, FULL_MASK, LOG_PAGE_BYTES, NOT_IN_LOG, ZERO_IN_LOG } from '../../../src/core/writelog/index.ts';
import { ForgetfulLogDisk } from '../../fault/forgetful-log-disk.ts';
import { appendPages, FILE_PAGES, filled, openOn, valueOf } from '../../fault/writelog-disk.ts';

describe('group commit', () => {
  it('puts everything of one task into one record and one write, and gives all callers one promise', async () => {
    const disk = new ForgetfulLogDisk();
    const log = await openOn(disk);
    const { writes } = disk;
    const promises = [
      log.append(5, filled(1)),
      log.append(6, filled(2)),
      log.append(9, filled(3)),
      log.appendZeroes(1, 2),
    ];
    expect(new Set(promises).size).toBe(1);
    expect(disk.writes).toBe(writes);
    await promises[0];
    expect(disk.writes).toBe(writes + 1);
    const [record, none] = log.records(1, 1e9);
    expect(none).toBeUndefined();
    // Neighbours become one extent.
    expect(record?.extents).toMatchObject([
      { kind: 'pages', firstPage: 5, pageCount: 2 },
      { kind: 'pages', firstPage: 9, pageCount: 1 },
      { kind: 'zeroes', firstPage: 1, pageCount: 2 },
    ]);
    expect(record?.logBytes).toBe(4 * LOG_PAGE_BYTES);
    const next = log.append(7, filled(4));
    expect(next).not.toBe(promises[0]);
    await next;
    expect(log.usage.lastSequence).toBe(2);
    await log.close();
  });

  it('finds and reads what is not written yet', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    const appended = log.append(3, filled(7, 2));
    expect([3, 4, 5].map((page) => valueOf(log, page))).toEqual([7, 7, undefined]);
    expect(log.records(1, 1).length).toBe(1);
    await appended;
    await log.close();
  });

  it('splits what is more than a record or a file holds, under one promise', async () => {
    const log = await openOn(new ForgetfulLogDisk(), 0, 9);
    const bytes = 60 * LOG_PAGE_BYTES;
    while (!log.hasRoom(bytes)) await log.room(bytes);
    await log.append(100, Buffer.concat(Array.from({ length: 60 }, (_, i) => filled(i + 1))));
    for (let i = 0; i < 60; i++) expect(valueOf(log, 100 + i)).toBe(i + 1);
    expect(log.usage.lastSequence).toBeGreaterThan(3);
    // Files are filled to the last page.
    expect(log.usage.dirtyBytes).toBe((60 + log.usage.lastSequence) * LOG_PAGE_BYTES);
    await log.close();
  });

  it('splits what has more extents than a header holds', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    const promises = Array.from({ length: 700 }, (_, i) => log.appendZeroes(3 * i, 1));
    await Promise.all(promises);
    const records = log.records(1, 1e9);
    expect(records.length).toBe(3);
    expect(records.flatMap((record) => record.extents)).toHaveLength(700);
    await log.close();
  });

  it('ends a record with a barrier', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    const before = log.append(1, filled(1));
    const barrier = log.appendBarrier('snap-0123456789abcdef0');
    const after = log.append(2, filled(2));
    await Promise.all([before, after]);
    expect(await barrier).toBe(1);
    expect(log.records(1, 1e9).map((record) => record.extents.map((extent) => extent.kind))).toEqual([
      ['pages', 'barrier'],
      ['pages'],
    ]);
    expect(log.records(1, 1)[0]?.extents[1]).toEqual({ kind: 'barrier', name: 'snap-0123456789abcdef0' });
    await log.close();
  });
});

describe('appends as wholes', () => {
  const WHOLE_MAX = FILE_PAGES - 2;

  it('are in one record each, wherever the one before has ended', async () => {
    for (let before = 0; before < FILE_PAGES; before++)
      for (const open of [0, 1, 5])
        for (const whole of [1, 2, 7, WHOLE_MAX - 1, WHOLE_MAX]) {
          const log = await openOn(new ForgetfulLogDisk());
          expect(log.wholeBytesMax).toBe(WHOLE_MAX * LOG_PAGE_BYTES);
          if (before > 0) await log.append(0, filled(1, before));
          if (open > 0) void log.append(50, filled(2, open));
          await log.appendWhole(100, filled(3, whole));
          const holding = log
            .records(1, 1e9)
            .flatMap(({ extents }) => extents)
            .filter((extent) => extent.kind === 'pages' && extent.firstPage >= 100);
          expect(holding, `${before}, ${open}, ${whole}`).toMatchObject([{ firstPage: 100, pageCount: whole }]);
          for (let i = 0; i < whole; i++) expect(valueOf(log, 100 + i)).toBe(3);
          await log.close();
        }
  });

  it('join the record of the task where there is room', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    const promises = [log.append(1, filled(1)), log.appendWhole(20, filled(2, 4)), log.appendWhole(30, filled(3, 4))];
    expect(new Set(promises).size).toBe(1);
    await promises[0];
    expect(log.usage.lastSequence).toBe(1);
    await log.close();
  });

  it('are extents by themselves beside neighbours', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    void log.append(1, filled(1));
    void log.appendWhole(2, filled(2, 2));
    void log.appendWhole(4, filled(3, 2));
    void log.append(6, filled(4));
    await log.append(7, filled(5));
    expect(log.records(1, 1e9)).toMatchObject([
      {
        extents: [
          { firstPage: 1, pageCount: 1 },
          { firstPage: 2, pageCount: 2 },
          { firstPage: 4, pageCount: 2 },
          { firstPage: 6, pageCount: 2 },
        ],
      },
    ]);
    await log.close();
  });

  it('always have room after a positive answer, and none after a negative one', async () => {
    const answers = { yes: 0, no: 0 };
    for (let before = 0; before < FILE_PAGES; before++)
      for (const open of [0, 1, 3, 6])
        for (const whole of [1, 3, 8, WHOLE_MAX]) {
          const log = await openOn(new ForgetfulLogDisk(), 0, 2);
          if (before % 2 === 0) await log.append(0, filled(1, WHOLE_MAX));
          for (let i = 0; i < before && log.hasRoom(LOG_PAGE_BYTES); i++) await log.append(0, filled(1));
          for (let i = 0; i < open && log.hasRoom(LOG_PAGE_BYTES); i++) void log.append(3 * i, filled(2));
          const isFree = log.hasRoom(whole * LOG_PAGE_BYTES);
          const appended = log.appendWhole(100, filled(3, whole));
          if (isFree) await appended;
          else await expect(appended).rejects.toMatchObject({ code: 'log-full' });
          expect(log.failure).toBeUndefined();
          for (let i = 0; i < whole; i++) expect(valueOf(log, 100 + i)).toBe(isFree ? 3 : undefined);
          answers[isFree ? 'yes' : 'no'] += 1;
          await log.close();
        }
    expect(Math.min(answers.yes, answers.no)).toBeGreaterThan(30);
  });

  it('have room in files that hold more than a record does, too', async () => {
    const answers = { yes: 0, no: 0 };
    for (const first of [100, 980])
      for (let open = 975; open <= 1005; open += 5) {
        const log = await openOn(new ForgetfulLogDisk(), 0, 2, 1024);
        // The second file is being filled, and none is free.
        await log.append(0, filled(1, 1020));
        const parts = [log.append(2000, filled(2, first))];
        if (open > first) parts.push(log.append(0, filled(2, open - first)));
        const isFree = log.hasRoom(32 * LOG_PAGE_BYTES);
        const whole = log.appendWhole(4000, filled(3, 32));
        if (isFree) await whole;
        else await expect(whole).rejects.toMatchObject({ code: 'log-full' });
        await Promise.all(parts);
        answers[isFree ? 'yes' : 'no'] += 1;
        await log.close();
      }
    expect(Math.min(answers.yes, answers.no)).toBeGreaterThan(3);
  }, 60_000);

  it('wait in their turn where the last file has room for less', async () => {
    const log = await openOn(new ForgetfulLogDisk(), 0, 2);
    const bytes = 8 * LOG_PAGE_BYTES;
    let last = 0;
    while (log.hasRoom(bytes)) await appendPages(log, 1, ++last);
    expect(log.hasRoom(LOG_PAGE_BYTES)).toBe(true);
    const served: string[] = [];
    const whole = log.room(bytes).then(async () => {
      served.push('whole');
      await log.appendWhole(100, filled(9, 8));
    });
    const behind = log.room(LOG_PAGE_BYTES).then(() => served.push('behind'));
    for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
    expect(served).toEqual([]);
    log.uploaded(last);
    await Promise.all([whole, behind]);
    expect(served).toEqual(['whole', 'behind']);
    expect(valueOf(log, 107)).toBe(9);
    expect(() => log.appendWhole(0, filled(1, WHOLE_MAX + 1))).toThrow(/a record holds/);
    await log.close();
  });
});

describe('pages written in part', () => {
  it('keeps a mask over what is below, and merges with what the log has', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    await log.appendSectors(4, 0x03, filled(1));
    expect(log.maskOf(4)).toBe(0x03);
    await log.appendSectors(4, 0x06, filled(2));
    expect(log.maskOf(4)).toBe(0x07);
    const target = Buffer.alloc(4 * 512);
    log.readSlots(log.lookup(4), target);
    expect([0, 512, 1024].map((at) => target[at])).toEqual([1, 2, 2]);
    log.readSlots(log.lookup(4), target.subarray(0, 512), 512);
    expect(target[0]).toBe(2);
    await log.appendSectors(4, 0xf8, filled(3));
    expect(log.maskOf(4)).toBe(FULL_MASK);
    expect(log.records(3, 1)[0]?.extents[0]?.kind).toBe('pages');
    await log.close();
  });

  it('is a whole page over zeroes', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    await log.appendZeroes(4, 1);
    await log.appendSectors(4, 0x80, filled(9));
    expect(log.maskOf(4)).toBe(FULL_MASK);
    const target = Buffer.alloc(LOG_PAGE_BYTES);
    log.readSlots(log.lookup(4), target);
    expect(target.indexOf(9)).toBe(7 * 512);
    await log.close();
  });
});

describe('flush', () => {
  it('syncs a file once for all callers that wait, and not at all when nothing was written', async () => {
    const disk = new ForgetfulLogDisk();
    const log = await openOn(disk);
    await appendPages(log, 1);
    const { syncs } = disk;
    let open = (): void => undefined;
    disk.syncGate = new Promise((resolve) => {
      open = resolve;
    });
    const first = [log.flush(), log.flush()];
    const appended = log.append(2, filled(2));
    const second = [log.flush(), log.flush(), log.flush()];
    open();
    await Promise.all([...first, appended, ...second]);
    expect(disk.syncs).toBe(syncs + 2);
    await log.flush();
    expect(disk.syncs).toBe(syncs + 2);
    expect(log.usage.flushedSequence).toBe(2);
    await log.close();
  });

  it('covers what was appended in the same task, and all files that were written', async () => {
    const disk = new ForgetfulLogDisk();
    const log = await openOn(disk);
    const bytes = 20 * LOG_PAGE_BYTES;
    while (!log.hasRoom(bytes)) await log.room(bytes);
    const appended = log.append(1, filled(1, 20));
    const { syncs } = disk;
    await Promise.all([appended, log.flush()]);
    expect(disk.syncs).toBe(syncs + 2);
    await log.close();
  });

  it('is told of by the record before it, also after another opening', async () => {
    const disk = new ForgetfulLogDisk();
    const log = await openOn(disk);
    await appendPages(log, 2);
    await log.flush();
    await appendPages(log, 2, 3);
    expect(log.records(1, 1e9).map((record) => record.flushedBehind)).toEqual([false, true, false, false]);
    const again = await openOn(disk.afterKill());
    // An opening makes all that it finds durable.
    expect(again.records(1, 1e9).map((record) => record.flushedBehind)).toEqual([false, true, false, true]);
    await again.close();
  });
});

describe('room', () => {
  it('an append after a positive answer always has room, whatever its size', async () => {
    for (let pages = 1; pages < 70; pages++) {
      const log = await openOn(new ForgetfulLogDisk());
      let appended = 0;
      while (log.hasRoom(pages * LOG_PAGE_BYTES)) {
        await log.append(0, filled(1, pages));
        appended += 1;
        // Some leave a gap at the end of the file.
        if (log.hasRoom(0)) await log.appendZeroes(5, 1);
      }
      expect(appended + (pages > 28 ? 1 : 0)).toBeGreaterThan(0);
      await log.close();
    }
  });

  it('serves those who wait in order, and lets one give up', async () => {
    const log = await openOn(new ForgetfulLogDisk(), 0, 2);
    let last = 0;
    while (log.hasRoom(LOG_PAGE_BYTES)) await appendPages(log, 1, ++last);
    await expect(log.append(1, filled(1))).rejects.toMatchObject({ kind: 'exhausted', code: 'log-full' });
    const served: string[] = [];
    const abort = new AbortController();
    const gone = log.room(LOG_PAGE_BYTES, abort.signal);
    const a = log.room(3 * LOG_PAGE_BYTES).then(() => served.push('a'));
    const b = log.room(LOG_PAGE_BYTES).then(() => served.push('b'));
    abort.abort();
    await expect(gone).rejects.toMatchObject({ kind: 'aborted' });
    expect(served).toEqual([]);
    log.uploaded(last);
    await Promise.all([a, b]);
    expect(served).toEqual(['a', 'b']);
    await expect(log.room(1000 * LOG_PAGE_BYTES)).rejects.toMatchObject({ code: 'log-too-small' });
    await log.close();
  });

  it('fails those who wait when the log is closed', async () => {
    const log = await openOn(new ForgetfulLogDisk(), 0, 2);
    while (log.hasRoom(LOG_PAGE_BYTES)) await appendPages(log, 1);
    const waiting = log.room(LOG_PAGE_BYTES);
    const failed = expect(waiting).rejects.toMatchObject({ code: 'log-closed' });
    await log.close();
    await failed;
    await expect(log.append(1, filled(1))).rejects.toMatchObject({ code: 'log-closed' });
    await log.close();
  });

  it('grows and shrinks by whole files, and keeps what is not uploaded', async () => {
    const disk = new ForgetfulLogDisk();
    const log = await openOn(disk, 0, 2);
    let last = 0;
    while (log.hasRoom(LOG_PAGE_BYTES)) await appendPages(log, 1, ++last);
    await log.resize(6 * FILE_PAGES * LOG_PAGE_BYTES);
    await log.room(LOG_PAGE_BYTES);
    while (last < 35) await appendPages(log, 1, ++last);
    expect(disk.files.size).toBeGreaterThan(4);
    await log.resize(2 * FILE_PAGES * LOG_PAGE_BYTES);
    expect(log.usage.capacityBytes).toBe(2 * FILE_PAGES * LOG_PAGE_BYTES);
    for (let page = 1; page <= last; page++) expect(valueOf(log, page)).toBe(page);
    log.uploaded(last);
    await log.close();
    expect(disk.files.size).toBeLessThan(5);
    const again = await openOn(disk, last, 2);
    await appendPages(again, 1, ++last);
    again.uploaded(last);
    for (let turns = 0; turns < 50; turns++) await new Promise((resolve) => setImmediate(resolve));
    expect(disk.files.size).toBe(2);
    await again.close();
  });
});

describe('what is uploaded', () => {
  it('stays readable until its file is used again, which is told before', async () => {
    const log = await openOn(new ForgetfulLogDisk(), 0, 2);
    const recycled: number[] = [];
    log.onRecycle = (pages) => {
      for (const [page, slot] of pages) {
        expect(log.lookup(page)).toBe(slot);
        recycled.push(page);
      }
    };
    await appendPages(log, 7);
    await log.append(1, filled(77));
    log.uploaded(7);
    expect([2, 7].map((page) => valueOf(log, page))).toEqual([2, 7]);
    await appendPages(log, 6, 8);
    log.uploaded(14);
    await appendPages(log, 3, 20);
    // Page 1 has a newer version in the other file.
    expect(recycled).toEqual([2, 3, 4, 5, 6, 7]);
    expect(log.lookup(2)).toBe(NOT_IN_LOG);
    expect(valueOf(log, 1)).toBe(77);
    await log.close();
  });

  it('counts bytes and age of what is not', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    expect(log.usage).toMatchObject({ dirtyBytes: 0, oldestDirtyMs: null, lastSequence: 0 });
    const before = Date.now();
    await appendPages(log, 3);
    expect(log.usage.dirtyBytes).toBe(6 * LOG_PAGE_BYTES);
    expect(log.usage.oldestDirtyMs).toBeGreaterThanOrEqual(before);
    log.uploaded(2);
    expect(log.usage).toMatchObject({ dirtyBytes: 2 * LOG_PAGE_BYTES, uploadedSequence: 2 });
    expect(() => {
      log.uploaded(4);
    }).toThrow(/assertion/);
    await log.close();
  });

  it('a store that has more than a log lost lets sequences go on behind it', async () => {
    const disk = new ForgetfulLogDisk();
    await appendPages(await openOn(disk), 2);
    const log = await openOn(disk.afterKill(), 9);
    expect(log.incarnation).toMatchObject({ firstSequence: 10, uploadedSequence: 9 });
    expect(log.lookup(1)).toBe(NOT_IN_LOG);
    await appendPages(log, 1);
    expect(log.records(10, 1)[0]?.sequence).toBe(10);
    expect(log.usage.dirtyBytes).toBe(2 * LOG_PAGE_BYTES);
    await log.close();
  });

  it('a store that has less than the log was told is refused', async () => {
    const disk = new ForgetfulLogDisk();
    const log = await openOn(disk);
    await appendPages(log, 20);
    log.uploaded(15);
    await appendPages(log, 1, 21);
    await log.close();
    await expect(openOn(disk, 3)).rejects.toMatchObject({ kind: 'corrupt', code: 'log-damaged' });
    await (await openOn(disk, 15)).close();
  });
});

describe('zeroes and sizes', () => {
  it('takes terabytes of zeroes as one extent, and pages written after and before them win or lose', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    await appendPages(log, 3);
    await log.appendZeroes(2, 2 ** 33);
    await log.append(3, filled(33));
    expect([1, 2, 3, 4].map((page) => log.lookup(page) === ZERO_IN_LOG)).toEqual([false, true, false, true]);
    expect(valueOf(log, 3)).toBe(33);
    expect(log.lookup(2 ** 33 + 1)).toBe(ZERO_IN_LOG);
    expect(log.lookup(2 ** 33 + 2)).toBe(NOT_IN_LOG);
    expect(log.nextPage(2 ** 33 + 2, 2 ** 34)).toBeUndefined();
    expect(log.runLength(4, 1000)).toBe(1000);
    log.uploaded(4);
    // The store says so from now on.
    expect(log.lookup(4)).toBe(NOT_IN_LOG);
    await log.close();
  });

  it('C9: pages behind a new end read as zeroes, also after it grew again and after another opening', async () => {
    const disk = new ForgetfulLogDisk();
    const log = await openOn(disk);
    await appendPages(log, 6);
    await log.appendResize(4 * LOG_PAGE_BYTES);
    await log.appendResize(2 ** 40);
    const again = await openOn(disk.afterKill());
    for (const one of [log, again]) {
      expect([3, 4, 5, 6, 7].map((page) => valueOf(one, page) ?? one.lookup(page))).toEqual([3, -2, -2, -2, -2]);
      expect(one.records(7, 1)[0]?.extents).toEqual([{ kind: 'resize', sizeBytes: 4 * LOG_PAGE_BYTES }]);
    }
    await again.close();
  });
});

describe('openings', () => {
  it('C4: each begins an incarnation, and all are told of while the log needs them', async () => {
    const disk = new ForgetfulLogDisk();
    for (let i = 0; i < 5; i++) {
      const log = await openOn(disk);
      expect(log.incarnations).toHaveLength(i + 1);
      expect(log.incarnations.at(-1)).toBe(log.incarnation);
      expect(log.incarnation?.firstSequence).toBe(2 * i + 1);
      await appendPages(log, 2);
      await log.close();
    }
    const found = await findLog(disk);
    expect(found.incarnations.map((one) => one.firstSequence)).toEqual([1, 3, 5, 7, 9]);
    expect(found).toMatchObject({ lastSequence: 10, flushedSequence: 10, damage: null });
    const log = await openOn(disk);
    expect(new Set(log.records(1, 1e9).map((record) => record.incarnation)).size).toBe(5);
    await log.close();
  });

  it('finding changes nothing', async () => {
    const disk = new ForgetfulLogDisk();
    await appendPages(await openOn(disk), 5);
    const before = disk.copy();
    const { writes, syncs } = disk;
    await findLog(disk);
    expect([disk.writes, disk.syncs]).toEqual([writes, syncs]);
    for (const name of before.files.keys()) expect(disk.bytesOf(name).equals(before.bytesOf(name))).toBe(true);
  });
});

describe('records as they are sent', () => {
  it('have the bytes that were appended, also of the record that is open, over the ends of files', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    await appendPages(log, 9);
    const appended = log.append(10, filled(10, 2));
    const records = log.sent(1, 1e9);
    expect(records.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for (const { sequence, pages, body, extentCount } of records) {
      expect(pages.equals(filled(sequence, sequence === 10 ? 2 : 1))).toBe(true);
      const [first] = log.records(sequence, 1);
      expect(first?.extents).toMatchObject([{ kind: 'pages', firstPage: sequence }]);
      expect(extentCount).toBe(1);
      expect(body.readUInt32LE(0)).toBe(sequence);
      expect(body.readUInt32LE(16)).toBe(crc32(filled(sequence)));
      expect(body.length).toBe(16 + 4 * (sequence === 10 ? 2 : 1));
    }
    expect(records[0]).toMatchObject({ incarnation: log.incarnation?.incarnation, epoch: 1, uploadedSequence: 0 });
    await appended;
    // They are copies: what follows changes none.
    await appendPages(log, 5, 11);
    expect(records[8]?.pages.equals(filled(9))).toBe(true);
    await log.close();
  });

  it('are as many as there is room for, at least one, and none behind the end or where files are used again', async () => {
    const log = await openOn(new ForgetfulLogDisk());
    await appendPages(log, 30);
    const count = (from: number, bytes: number): number => log.sent(from, bytes).length;
    expect([count(3, 0), count(3, 8191), count(3, 8192), count(3, 3 * 8192), count(1, 1e9)]).toEqual([1, 1, 1, 3, 30]);
    expect(count(31, 1e9)).toBe(0);
    log.uploaded(30);
    expect(count(1, 1e9)).toBe(0);
    // Those in the file that is being filled are there still.
    expect(log.sent(30, 1e9).map(({ sequence }) => sequence)).toEqual([30]);
    await log.close();
  });
});
