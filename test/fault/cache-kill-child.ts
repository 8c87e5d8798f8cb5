/** Fills a cache until it is killed. Arguments: the folder, the bytes of the file. Tells each hundred frames. */
import { openFrameCache } from '../../src/core/cache/index.ts';
import { framePages, segmentId } from '../unit/cache/frames.ts';

const [directory = '', fileBytes = '0'] = process.argv.slice(2);
const cache = await openFrameCache({ directory, limits: { fileBytes: Number(fileBytes), ramBytes: 1024 * 1024 } });
const segment = cache.numberOf(segmentId(1));
for (let n = 0; ; n++) {
  const frame = n % 2000;
  cache.put(segment, frame, framePages(1, frame, (frame % 16) + 1));
  if (n % 100 !== 99) continue;
  process.stdout.write(`${n}\n`);
  await new Promise((resolve) => setImmediate(resolve));
}
