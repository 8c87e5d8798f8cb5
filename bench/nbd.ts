/** P1 to P5: fio's nbd engine against a served volume and other NBD servers, in interleaved rounds. */
import { requireFio, runFio } from './fio.ts';
import { nbdkitFile, qemuMirror, qemuNbd, s3backer, sgwImage, sgwMemory, sgwShadow, sgwVolume } from './nbd-servers.ts';
import { compare, type Comparison, type Load, type ServedFinding, type ServerChoice } from './served.ts';
import type { Settings } from './settings.ts';

const SIZE_BYTES = 512 * 1024 ** 2;
const RUN_SECONDS = 4;

const TIMED = ['--time_based', `--runtime=${String(RUN_SECONDS)}`];
const RANDOM = ['--bs=4k', `--size=${String(SIZE_BYTES / 2)}`];
const WRITETHROUGH = 'qemu-nbd --cache=writethrough';

const LOADS: readonly Load[] = [
  {
    id: 'P1',
    title: '4 KiB random read, 32 in flight',
    run: (uri) => runFio(uri, ['--rw=randread', '--iodepth=32', ...RANDOM, ...TIMED]),
    bars: { 'nbdkit file': 1.5, 'qemu-nbd': 2.5 },
  },
  {
    id: 'P2',
    title: '4 KiB random read, 1 in flight',
    run: (uri) => runFio(uri, ['--rw=randread', '--iodepth=1', ...RANDOM, ...TIMED]),
    bars: { 'nbdkit file': 1.1 },
  },
  {
    id: 'P3',
    title: '4 KiB random write, 32 in flight',
    run: (uri) => runFio(uri, ['--rw=randwrite', '--iodepth=32', ...RANDOM, ...TIMED]),
    bars: { 'nbdkit file': 1.2, 'qemu-nbd': 2 },
  },
  {
    id: 'P4',
    title: '4 KiB random write, each followed by a flush',
    run: (uri) => runFio(uri, ['--rw=randwrite', '--iodepth=1', '--fsync=1', ...RANDOM, ...TIMED]),
    bars: {},
  },
  {
    id: 'P4',
    title: '4 KiB random write, 32 in flight, a flush after each 32',
    run: (uri) => runFio(uri, ['--rw=randwrite', '--iodepth=32', '--fsync=32', ...RANDOM, ...TIMED]),
    bars: { [WRITETHROUGH]: 4 },
  },
  {
    id: 'P5',
    title: '1 MiB sequential read, 4 in flight',
    run: (uri) => runFio(uri, ['--rw=read', '--iodepth=4', '--bs=1m', `--size=${String(SIZE_BYTES / 2)}`, ...TIMED]),
    bars: { 'qemu-nbd': 1.2 },
  },
  {
    id: 'P5',
    title: '1 MiB sequential write, 4 in flight',
    run: (uri) => runFio(uri, ['--rw=write', '--iodepth=4', '--bs=1m', `--size=${String(SIZE_BYTES / 2)}`, ...TIMED]),
    bars: { 'qemu-nbd': 1 },
  },
];

/** Bars are of on over off; told here the other way round. */
const SHADOW_LOADS: readonly Load[] = [
  {
    id: 'shadow',
    title: '4 KiB random write, 32 in flight, over an image',
    run: (uri) => runFio(uri, ['--rw=randwrite', '--iodepth=32', ...RANDOM, ...TIMED]),
    bars: { 'shadowing on': 1 / 0.6, 'pass-through': 1 / 0.9 },
  },
  {
    id: 'shadow',
    title: '1 MiB sequential write, 4 in flight, over an image',
    run: (uri) => runFio(uri, ['--rw=write', '--iodepth=4', '--bs=1m', `--size=${String(SIZE_BYTES / 2)}`, ...TIMED]),
    bars: { 'shadowing on': 1 / 0.6, 'pass-through': 1 / 0.9 },
  },
  {
    id: 'shadow',
    title: '4 KiB random write, each followed by a flush, over an image',
    run: (uri) => runFio(uri, ['--rw=randwrite', '--iodepth=1', '--fsync=1', ...RANDOM, ...TIMED]),
    bars: { 'shadowing on': 1 / 0.6, 'pass-through': 1 / 0.9 },
  },
];

export function benchNbd(settings: Settings): ServedFinding {
  const peers = [sgwMemory, nbdkitFile, qemuNbd(), qemuNbd('writethrough'), s3backer];
  return nbd(settings, [...(settings.withSubject ? [sgwVolume] : []), ...peers], {
    id: 'NBD',
    title: 'P1 to P5: NBD',
    subject: 'sgw',
    loads: LOADS,
  });
}

/** What a shadow costs: the same server over the same kind of image, with a shadow, without, and in pass-through. */
export function benchShadow(settings: Settings): ServedFinding {
  const mirrors = [qemuMirror('background'), qemuMirror('write-blocking')];
  return nbd(settings, [sgwShadow(false), sgwShadow(true), sgwImage, nbdkitFile, qemuNbd(), ...mirrors], {
    id: 'SHADOW',
    title: 'Shadowing: what it costs',
    subject: 'shadowing off',
    loads: SHADOW_LOADS,
  });
}

function nbd(
  settings: Settings,
  choices: readonly ServerChoice[],
  wanted: Pick<Comparison, 'id' | 'title' | 'subject' | 'loads'>,
): ServedFinding {
  requireFio();
  return compare(settings, choices, {
    ...wanted,
    way: `One connection over a unix socket, fio's nbd engine, ${String(RUN_SECONDS)} s a run`,
    sizeBytes: SIZE_BYTES,
    fill: (uri) => {
      runFio(uri, ['--rw=write', '--bs=1m', '--iodepth=4', `--size=${String(SIZE_BYTES / 2)}`, '--end_fsync=1']);
    },
  });
}
