/** What a write takes of a log that is nearly full, counted on a log of small files. */
import { expect, it } from 'vitest';
import type { PageReader } from '../../../src/core/volume/page-reader.ts';
import { PageWriter } from '../../../src/core/volume/page-writer.ts';
import type { WriteLog } from '../../../src/core/writelog/index.ts';
import { ForgetfulLogDisk } from '../../fault/forgetful-log-disk.ts';
import { filled, openOn } from '../../fault/writelog-disk.ts';

const PAGE = 4096;

/** Looks at pages of the log, as the reader of a volume does; that ends the record which they are in. */
function readerOf(log: WriteLog): PageReader {
  const reader = {
    tryPage: (page: number, target: Buffer): boolean => {
      const slot = log.lookup(page);
      if (slot >= 0) log.readSlots(slot, target);
      return slot >= 0;
    },
  };
  return reader as unknown as PageReader;
}

/** Zeroes behind `records` records, and behind writes of `open` pages in the same task; false when there is no room for them. */
async function zeroesBehind(first: number, records: number, open: number): Promise<boolean> {
  const log = await openOn(new ForgetfulLogDisk(), 0, 2);
  const writer = new PageWriter(log, readerOf(log), { check: () => undefined, appended: () => undefined });
  await log.append(20, filled(1, first));
  for (let i = 0; i < records && log.hasRoom(PAGE); i++) await log.append(10, filled(2));
  const cost = PageWriter.costBytes(0);
  const before: Promise<void>[] = [];
  for (let i = 0; i < open && log.hasRoom(cost); i++) before.push(log.append(i * 3, filled(3)));
  const isFree = log.hasRoom(cost);
  if (isFree) await expect(writer.zero(512, 3 * PAGE), `${first}, ${records}, ${open}`).resolves.toBeUndefined();
  await Promise.all(before);
  await log.close();
  return isFree;
}

it('zeroes with parts of pages at both ends fit wherever there is room for what a write costs', async () => {
  let tried = 0;
  for (let first = 1; first <= 6; first++)
    for (let records = 0; records <= 13; records++)
      for (let open = 0; open <= 3; open++) tried += (await zeroesBehind(first, records, open)) ? 1 : 0;
  expect(tried).toBeGreaterThan(100);
});
