/** The work of P6, P7 and P10 over a real S3 server, against restic and s3backer: time, requests, bytes. */
import path from 'node:path';
import { baseImage } from './image.ts';
import { callScript, versionOf } from './programs.ts';
import type { ReadyFinding } from './report.ts';
import { spread } from './rounds.ts';
import type { PeerSample } from './s3-peers-run.ts';
import { workFolder, type Settings } from './settings.ts';

const RUN = path.join(import.meta.dirname, 's3-peers-run.ts');

export function benchS3Peers(settings: Settings): ReadyFinding<readonly PeerSample[]> {
  using work = workFolder(settings, 's3-peers');
  const image = baseImage(settings.folder);
  const samples = callScript(RUN, work.path, image.path, String(settings.rounds)) as PeerSample[];
  const works = [...new Set(samples.map(({ work: of }) => of))];
  const lines = [
    '### S3 peers: time, requests and bytes over a bucket',
    '',
    `A Ceph RADOS gateway in memory on the same machine, a new one for each round, and a proxy that counts. Whole processes. Import and change: the image and the changes of P6 and P7. Random writes: 64 MiB of 4 KiB that do not compress, 32 in flight, in a volume of 256 MiB that is empty, until all of it is in the bucket; s3backer is mounted with FUSE, its cache as large as the volume. ${restic()}, ${versionOf('s3backer', '--version') ?? 'no s3backer'}. Rounds: ${String(settings.rounds)}; median (lowest to highest).`,
    '',
    '| work | program | seconds | time of sgw / time of this | requests | of them PUTs and POSTs | sent MiB | received MiB |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ...works.flatMap((of) => rows(samples.filter(({ work: its }) => its === of))),
  ];
  return { id: 'S3PEERS', markdown: `${lines.join('\n')}\n`, samples };
}

const restic = (): string => versionOf('restic', 'version')?.replace(/ compiled.*/, '') ?? 'no restic';

function rows(samples: readonly PeerSample[]): string[] {
  const by = Map.groupBy(samples, ({ program }) => program);
  const own = by.get('sgw') ?? [];
  return [...by].map(([program, its]) => {
    const ratios = its.map(({ seconds }, round) => (own[round]?.seconds ?? Number.NaN) / seconds);
    const cells = [
      its[0]?.work ?? '',
      program,
      format(its.map(({ seconds }) => seconds)),
      program === 'sgw' ? '' : format(ratios),
      format(its.map(({ requests }) => requests)),
      format(its.map(({ puts }) => puts)),
      format(its.map(({ upBytes }) => upBytes / 2 ** 20)),
      format(its.map(({ downBytes }) => downBytes / 2 ** 20)),
    ];
    return `| ${cells.join(' | ')} |`;
  });
}

function format(values: readonly number[]): string {
  const { median, min, max } = spread(values);
  const text = (value: number): string => (value >= 100 ? String(Math.round(value)) : value.toPrecision(3));
  return min === max ? text(median) : `${text(median)} (${text(min)}-${text(max)})`;
}
