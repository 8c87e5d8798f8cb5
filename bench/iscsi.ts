/** iSCSI: libiscsi's and QEMU's clients against a served volume and tgtd over a file on the same disk, in interleaved rounds. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { cpuSecondsOf, rawFile } from './processes.ts';
import { call, versionOf } from './programs.ts';
import { compare, type Done, type Load, type ServedFinding, type ServerChoice } from './served.ts';
import type { Settings } from './settings.ts';
import { Subject } from './subject.ts';
import { freePort } from '../test/support/free-port.ts';

const MIB = 1024 ** 2;
const SIZE_BYTES = 256 * MIB;
const PERF_SECONDS = 4;
const SMALL = 200_000;
const LARGE = 2000;
/** Coprime to the number of blocks, so that each is met once before any comes again. */
const STRIDE_BYTES = 4097 * 4096;

const LOADS: readonly Load[] = [
  { id: 'iSCSI', title: '4 KiB random read, 32 in flight, iscsi-perf', run: iscsiPerf, bars: { tgtd: 1.2 } },
  {
    id: 'iSCSI',
    title: '4 KiB strided read, 32 in flight, qemu-img bench',
    run: (uri) => qemuBench(uri, SMALL, ['-d', '32', '-s', '4096', '-S', String(STRIDE_BYTES)]),
    bars: { tgtd: 1.2 },
  },
  {
    id: 'iSCSI',
    title: '4 KiB strided write, 32 in flight, qemu-img bench',
    run: (uri) => qemuBench(uri, SMALL, ['-w', '-d', '32', '-s', '4096', '-S', String(STRIDE_BYTES)]),
    bars: { tgtd: 1.2 },
  },
  {
    id: 'iSCSI',
    title: '1 MiB sequential read, 4 in flight, qemu-img bench',
    run: (uri) => qemuBench(uri, LARGE, ['-d', '4', '-s', String(MIB)]),
    bars: { tgtd: 1 },
  },
  {
    id: 'iSCSI',
    title: '1 MiB sequential write, 4 in flight, qemu-img bench',
    run: (uri) => qemuBench(uri, LARGE, ['-w', '-d', '4', '-s', String(MIB)]),
    bars: { tgtd: 1 },
  },
];

/** A cached volume, served by the gateway's daemon. */
const sgwTarget: ServerChoice = {
  name: 'sgw',
  missing: undefined,
  start: (folder, sizeBytes) => {
    const subject = new Subject(path.join(folder, 'sgw'));
    call(subject.does('configure', '--iscsi-listen', 'tcp:127.0.0.1:0'));
    call(subject.does('gateway', 'start'));
    call(subject.does('volume', 'create', 'bench', '--size', String(sizeBytes)));
    const attached = call(subject.does('volume', 'attach', 'bench', '--protocol', 'iscsi', '--json'));
    const { uris } = JSON.parse(attached) as { uris: string[] };
    const { pid } = JSON.parse(call(subject.does('gateway', 'show', '--json'))) as { pid: number };
    return {
      name: 'sgw',
      uri: uris.find((uri) => uri.startsWith('iscsi:')) ?? '',
      cpuSeconds: () => cpuSecondsOf(pid),
      [Symbol.dispose]: () => {
        call(subject.does('gateway', 'stop'));
      },
    };
  },
};

const TARGET = 'iqn.2026-11.internal.bench:disk';
/** Of its control socket: another one than that of a service that runs here. */
const CONTROL = '17';

/** The Linux target framework's server, which writes to its file through the page cache, as it comes. */
const tgtd = (port: number): ServerChoice => ({
  name: 'tgtd',
  missing: versionOf('which', 'tgtd') === undefined ? 'tgtd is not installed' : undefined,
  start: (folder, sizeBytes) => {
    const portal = `127.0.0.1:${String(port)}`;
    const child = spawn('tgtd', ['-f', '-C', CONTROL, '--iscsi', `portal=${portal}`], { stdio: 'ignore' });
    const { pid } = child;
    if (pid === undefined) throw new Error('tgtd does not start');
    const admin = (...words: readonly string[]): void => {
      call({ argv: ['tgtadm', '-C', CONTROL, '--lld', 'iscsi', ...words] });
    };
    const ready = `for i in $(seq 100); do tgtadm -C ${CONTROL} --lld iscsi --op show --mode target && exit; sleep 0.1; done; exit 1`;
    call({ argv: ['sh', '-c', ready] });
    admin('--op', 'new', '--mode', 'target', '--tid', '1', '-T', TARGET);
    const image = rawFile(folder, 'tgtd.img', sizeBytes);
    admin('--op', 'new', '--mode', 'logicalunit', '--tid', '1', '--lun', '1', '-b', image);
    admin('--op', 'bind', '--mode', 'target', '--tid', '1', '-I', 'ALL');
    return {
      name: 'tgtd',
      uri: `iscsi://${portal}/${TARGET}/1`,
      cpuSeconds: () => cpuSecondsOf(pid),
      [Symbol.dispose]: () => {
        // It heeds no SIGTERM while it has targets.
        child.kill('SIGKILL');
        child.unref();
      },
    };
  },
});

export async function benchIscsi(settings: Settings): Promise<ServedFinding> {
  for (const program of ['iscsi-perf', 'qemu-img'])
    if (versionOf('which', program) === undefined) throw new Error(`${program} is not installed`);
  const choices = [...(settings.withSubject ? [sgwTarget] : []), tgtd(await freePort())];
  return compare(settings, choices, {
    id: 'ISCSI',
    title: 'iSCSI',
    subject: 'sgw',
    way: `One session over TCP on loopback, no digests; iscsi-perf ${String(PERF_SECONDS)} s a run, qemu-img bench ${String(SMALL)} requests of 4 KiB or ${String(LARGE)} of 1 MiB a run`,
    sizeBytes: SIZE_BYTES,
    fill: (uri) => {
      qemuBench(uri, SIZE_BYTES / MIB, ['-w', '-d', '4', '-s', String(MIB), '--pattern=85']);
    },
    loads: LOADS,
  });
}

/** Reads only: it can't write. */
function iscsiPerf(uri: string): Done {
  const words = ['-m', '32', '-b', '8', '-t', String(PERF_SECONDS), '-r', uri];
  const printed = call({ argv: ['timeout', '60', 'iscsi-perf', ...words] });
  const average = /iops average (?<iops>\d+)/g;
  const last = [...printed.matchAll(average)].at(-1)?.groups?.['iops'];
  if (last === undefined) throw new Error(`iscsi-perf tells of no average: ${printed}`);
  return { operations: Number(last) * PERF_SECONDS, seconds: PERF_SECONDS };
}

function qemuBench(uri: string, count: number, words: readonly string[]): Done {
  const printed = call({
    argv: ['timeout', '120', 'qemu-img', 'bench', '-f', 'raw', '-t', 'none', '-c', String(count), ...words, uri],
  });
  const seconds = /completed in (?<seconds>[\d.]+) seconds/.exec(printed)?.groups?.['seconds'];
  if (seconds === undefined) throw new Error(`qemu-img bench tells of no time: ${printed}`);
  return { operations: count, seconds: Number(seconds) };
}
