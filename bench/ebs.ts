/** Blocks through the EBS direct API against plain S3, and listing what changed between two large snapshots. */
import path from 'node:path';
import type { DiffSamples } from './ebs-diff-run.ts';
import type { EbsSamples } from './ebs-run.ts';
import { callScript } from './programs.ts';
import type { ReadyFinding } from './report.ts';
import { spread } from './rounds.ts';
import { workFolder, type Settings } from './settings.ts';

const here = (name: string): string => path.join(import.meta.dirname, name);

export function benchEbs(settings: Settings): ReadyFinding<{ blocks: readonly EbsSamples[]; diff: DiffSamples }> {
  using work = workFolder(settings, 'ebs');
  const rounds = String(settings.rounds);
  const diff = callScript(here('ebs-diff-run.ts'), work.path, rounds) as DiffSamples;
  const blocks = callScript(here('ebs-run.ts'), rounds) as EbsSamples[];
  const lines = [
    '### EBS: blocks through the EBS direct API, and what changed between two snapshots',
    '',
    `Blocks: 192 of 512 KiB that do not compress, by AWS's SDK, through a server of the service to a Ceph RADOS gateway in memory on the same machine, against plain PUTs and GETs of the same size to the same gateway in the same run. Rounds: ${rounds}, beginning with the one and the other; median (lowest to highest). The ratio is of throughputs, round by round; bar: 0.7.`,
    '',
    '| | in flight | MiB/s | MiB/s of plain S3 | ratio |',
    '| --- | --- | --- | --- | --- |',
    ...blocks.flatMap(({ inFlight, putBlock, s3Put, getBlock, s3Get }) => [
      row('PutSnapshotBlock', inFlight, putBlock, s3Put),
      row('GetSnapshotBlock', inFlight, getBlock, s3Get),
    ]),
    '',
    'ListChangedBlocks: two snapshots of 1 TiB that is all written, over a directory, which differ in 1,000 blocks at random places. Bar: 200 ms.',
    '',
    '| | ms |',
    '| --- | --- |',
    `| a call, to a server that has read nothing of them | ${format(diff.callMs)} |`,
    `| the comparison alone | ${format(diff.coldMs)} |`,
    `| the same again | ${format(diff.warmMs)} |`,
  ];
  return { id: 'EBS', markdown: `${lines.join('\n')}\n`, samples: { blocks, diff } };
}

const MIB_IN_ALL = 96;

function row(name: string, inFlight: number, own: readonly number[], plain: readonly number[]): string {
  const rates = (seconds: readonly number[]): number[] => seconds.map((one) => MIB_IN_ALL / one);
  const ratios = own.map((seconds, round) => (plain[round] ?? Number.NaN) / seconds);
  return `| ${[name, String(inFlight), format(rates(own)), format(rates(plain)), format(ratios)].join(' | ')} |`;
}

function format(values: readonly number[]): string {
  const { median, min, max } = spread(values);
  const text = (value: number): string => (value >= 100 ? String(Math.round(value)) : value.toPrecision(3));
  return min === max ? text(median) : `${text(median)} (${text(min)}-${text(max)})`;
}
