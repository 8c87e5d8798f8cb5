/** Import, export and reads on demand over a real S3 server, against the AWS SDK alone, with 0, 20 and 50 ms on the way. */
import path from 'node:path';
import { callScript } from './programs.ts';
import type { ReadyFinding } from './report.ts';
import { spread, type Spread } from './rounds.ts';
import type { S3Samples } from './s3-run.ts';
import { IMAGE_BYTES } from './s3-way.ts';
import { workFolder, type Settings } from './settings.ts';

const RUN = path.join(import.meta.dirname, 's3-run.ts');
const IMAGE_MIB = IMAGE_BYTES / 1024 ** 2;

export function benchS3(settings: Settings): ReadyFinding<readonly S3Samples[]> {
  using work = workFolder(settings, 's3');
  const samples = callScript(RUN, work.path, String(settings.rounds)) as S3Samples[];
  const lines = [
    '### S3: import, export and reads on demand over a bucket',
    '',
    `${String(IMAGE_MIB)} MiB of noise, a Ceph RADOS gateway in memory on the same machine, a new one for each round, and a proxy before it that delays each request. Whole processes. The peer puts and gets objects of 8 MiB with the AWS SDK, eight at a time, and reads ranges of 64 KiB; a read on demand is one of 4 KiB over NBD from a clone that nothing is cached of, mostly from a segment whose tables have to be read first. Rounds: ${String(settings.rounds)}; median (lowest to highest).`,
    '',
    '| | way | sgw | SDK | ratio | bar |',
    '| --- | --- | --- | --- | --- | --- |',
    ...samples.flatMap(({ latencyMs, ...of }) => {
      const way = `${String(latencyMs)} ms`;
      return [
        row('import, MiB/s', way, rates(of.importSeconds), rates(of.putSeconds), '>= 0.8'),
        row('export, MiB/s', way, rates(of.exportSeconds), rates(of.getSeconds), '>= 0.8'),
        row('read on demand, ms', way, of.readMs, of.rangeMs, '<= 2'),
        `| the same pages again, ms | ${way} | ${format(spread(of.cachedMs))} | | | |`,
        `| clone, until its first page was read, s | ${way} | ${format(spread(of.cloneSeconds))} | | | |`,
      ];
    }),
  ];
  return { id: 'S3', markdown: `${lines.join('\n')}\n`, samples };
}

const rates = (seconds: readonly number[]): number[] => seconds.map((one) => IMAGE_MIB / one);

function row(what: string, way: string, own: readonly number[], peer: readonly number[], bar: string): string {
  const ratios = own.map((value, round) => value / (peer[round] ?? Number.NaN));
  return `| ${[what, way, format(spread(own)), format(spread(peer)), format(spread(ratios)), bar].join(' | ')} |`;
}

const format = ({ median, min, max }: Spread): string =>
  `${median.toPrecision(3)} (${min.toPrecision(3)}-${max.toPrecision(3)})`;
