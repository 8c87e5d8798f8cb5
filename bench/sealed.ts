/** What it costs that a service seals its store. */
import path from 'node:path';
import { callScript } from './programs.ts';
import type { ReadyFinding } from './report.ts';
import { spread } from './rounds.ts';
import type { SealedSamples } from './sealed-run.ts';
import type { Settings } from './settings.ts';

export function benchSealed({ rounds }: Settings): ReadyFinding<SealedSamples> {
  const samples = callScript(path.join(import.meta.dirname, 'sealed-run.ts'), String(rounds)) as SealedSamples;
  const { ebs, layer } = samples;
  const [plain, sealed] = layer;
  const lines = [
    '### Sealed: a store whose provider holds the keys',
    '',
    `Blocks: 192 of 512 KiB that do not compress, by AWS's SDK, through two servers of the service to one Ceph RADOS gateway in memory on the same machine, one of which seals what it stores. The layer alone: over a store in memory, 32 objects of 8 MiB, one at a time, and 4096 parts of 64 KiB at multiples of 4 KiB. Rounds: ${String(rounds)}, beginning with the one and the other; median (lowest to highest). The ratio is of throughputs, round by round.`,
    '',
    '| | in flight | MiB/s, sealed | MiB/s, plain | ratio |',
    '| --- | --- | --- | --- | --- |',
    ...[1, 8].flatMap((inFlight) => {
      const of = (way: string) => ebs.find((one) => one.inFlight === inFlight && one.way === way);
      return (['put', 'get'] as const).map((what) =>
        row(
          what === 'put' ? 'PutSnapshotBlock' : 'GetSnapshotBlock',
          inFlight,
          of('sealed')?.[what],
          of('plain')?.[what],
        ),
      );
    }),
    row('the layer: put of 8 MiB', 1, sealed?.put, plain?.put),
    row('the layer: get of 8 MiB', 1, sealed?.get, plain?.get),
    row('the layer: part of 64 KiB', 1, sealed?.part, plain?.part),
  ];
  return { id: 'Sealed', markdown: `${lines.join('\n')}\n`, samples };
}

function row(name: string, inFlight: number, own: readonly number[] = [], plain: readonly number[] = []): string {
  const ratios = own.map((rate, round) => rate / (plain[round] ?? Number.NaN));
  return `| ${[name, String(inFlight), format(own), format(plain), format(ratios)].join(' | ')} |`;
}

function format(values: readonly number[]): string {
  const { median, min, max } = spread(values);
  const text = (value: number): string => (value >= 100 ? String(Math.round(value)) : value.toPrecision(3));
  return min === max ? text(median) : `${text(median)} (${text(min)}-${text(max)})`;
}
