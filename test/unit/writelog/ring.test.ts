/** The ring of a log's files, while files are made in the background. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { LOG_PAGE_BYTES, type LogDisk, type LogFile } from '../../../src/core/writelog/index.ts';
import { Ring } from '../../../src/core/writelog/ring.ts';
import { ForgetfulLogDisk } from '../../fault/forgetful-log-disk.ts';

const FILE_PAGES = 8;
const FILES = 16;

/** Takes a moment for each file, and notes their names. */
class SlowDisk extends ForgetfulLogDisk implements LogDisk {
  readonly opened: string[] = [];

  override async open(name: string, sizeBytes: number): Promise<LogFile> {
    await sleep(2);
    this.opened.push(name);
    return await super.open(name, sizeBytes);
  }
}

it('C13 C26 a file that is made at once and one that is made in the background are two', async () => {
  const disk = new SlowDisk();
  const ring = new Ring(disk, FILE_PAGES, FILES * FILE_PAGES * LOG_PAGE_BYTES, {
    onReuse: () => undefined,
    onRoom: () => undefined,
  });
  await ring.makeFree(1);
  for (let generation = 1; generation <= FILES; generation++) {
    // Taking one has others made in the background.
    const file = ring.take(generation, generation);
    file?.addRecord(generation, 1);
    await ring.makeFree(1);
  }
  await ring.close();
  expect(new Set(disk.opened).size).toBe(disk.opened.length);
  const inUse = ring.live.map((file) => file.handle.name);
  expect(inUse).toHaveLength(FILES);
  expect(new Set(inUse).size).toBe(FILES);
});
