/** P8: how soon the first byte of a snapshot of 4 GiB can be read, from a clone, and from a local image that is being restored. */
import { closeSync, openSync, readSync } from 'node:fs';
import path from 'node:path';
import { baseImage } from './image.ts';
import { call, type Sample } from './programs.ts';
import type { Finding } from './report.ts';
import { workFolder, type Settings } from './settings.ts';
import { Subject } from './subject.ts';

const CLONES_PER_ROUND = 5;
const RUN = path.join(import.meta.dirname, 'first-byte-run.ts');
const PAGE_BYTES = 4096;
const SERIES = [
  'a clone, its first bytes',
  'a clone, bytes in the middle',
  'a local image, its first bytes',
  'a local image, bytes in the middle',
] as const;

/** The cache is empty before each round, the store's files are in the page cache. */
export function benchFirstByte(settings: Settings): Finding {
  using work = workFolder(settings, 'p8');
  const series = SERIES.map((name) => ({ name, samples: [] as Sample[] }));
  if (settings.withSubject) {
    const subject = new Subject(work.path);
    const image = baseImage(settings.folder);
    const middle = dataAfter(image.path, image.sizeBytes / 2);
    const file = path.join(work.path, 'restored.img');
    const places = [[0], [middle], [0, file], [middle, file]];
    call(subject.does('volume', 'import', image.path, '--name', 'golden'));
    call(subject.does('snapshot', 'create', 'golden', '--name', 'v1'));
    for (let round = 0; round < settings.rounds; round += 1)
      for (const [index, place] of places.entries()) {
        call(subject.does('gateway', 'start'));
        const argv = [
          process.execPath,
          RUN,
          subject.home,
          'v1',
          String(CLONES_PER_ROUND),
          ...place.map(String),
        ] as const;
        for (const seconds of JSON.parse(call({ argv })) as number[])
          series[index]?.samples.push({ seconds, durableSeconds: seconds, storedBytes: undefined });
        call(subject.does('gateway', 'stop'));
      }
  }
  return {
    id: 'P8',
    title: 'first byte from a snapshot of 4 GiB',
    setting:
      'In a gateway that runs: from the request for a clone, or for a restore to a new file, until a client that has connected to it holds its first 4 KiB; asked for is 0.2 s.',
    subject: undefined,
    series,
    bars: {},
    skipped: [],
  };
}

/** The first page behind `offset` that is not all zeroes. */
function dataAfter(file: string, offset: number): number {
  const fd = openSync(file, 'r');
  const bytes = Buffer.alloc(PAGE_BYTES);
  try {
    for (let at = offset; readSync(fd, bytes, 0, PAGE_BYTES, at) === PAGE_BYTES; at += PAGE_BYTES)
      if (bytes.some((byte) => byte !== 0)) return at;
  } finally {
    closeSync(fd);
  }
  throw new Error(`${file} has no data behind ${String(offset)}`);
}
