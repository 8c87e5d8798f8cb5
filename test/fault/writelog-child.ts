/**
 * Appends to the write log in the folder that it is given until it is killed: pages that say which they are and which version.
 * On standard output it says, after each acknowledgement, up to which version everything is acknowledged ("a N") and flushed
 * ("f N").
 */
import { writeSync } from 'node:fs';
import { systemClock, systemRandom } from '../../src/core/kit/index.ts';
import { directoryDisk, findLog, LOG_PAGE_BYTES, openLog } from '../../src/core/writelog/index.ts';

const PAGES = 200;
const [folder = '', startText = '0'] = process.argv.slice(2);
const disk = directoryDisk(folder);
const log = await openLog({
  disk,
  found: await findLog(disk),
  capacityBytes: 64 * 64 * 1024,
  fileBytes: 64 * 1024,
  clock: systemClock,
  incarnation: { incarnation: systemRandom.bytes(8).toString('hex'), epoch: 1, baseSeq: 0, uploadedSequence: 0 },
});
if (log.failure !== undefined) throw log.failure;

let version = Number(startText);
for (let group = 0; ; group++) {
  const count = 1 + Math.floor(systemRandom.float() * 8);
  while (!log.hasRoom(16 * LOG_PAGE_BYTES)) {
    // Files are made ahead; but nothing is uploaded, since the reader of this log wants everything: then it is full.
    const waited = await Promise.race([
      log.room(16 * LOG_PAGE_BYTES).then(() => 'room'),
      new Promise((resolve) => setTimeout(resolve, 3000)),
    ]);
    if (waited === 'room') continue;
    writeSync(1, 'full\n');
    await new Promise((resolve) => setTimeout(resolve, 60_000));
  }
  let promise: Promise<void> | undefined;
  for (let i = 0; i < count; i++) {
    version += 1;
    const page = version % PAGES;
    const data = Buffer.alloc(LOG_PAGE_BYTES, version & 0xff);
    data.writeDoubleLE(page, 0);
    data.writeDoubleLE(version, LOG_PAGE_BYTES - 8);
    promise = log.append(page, data);
  }
  await promise;
  writeSync(1, `a ${version}\n`);
  if (group % 20 === 0) {
    const flushed = version;
    await log.flush();
    writeSync(1, `f ${flushed}\n`);
  }
}
