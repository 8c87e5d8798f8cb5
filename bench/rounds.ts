/** Runs contenders in interleaved rounds, and sums up what they took against what sgw took in the same round. */
import type { Sample } from './programs.ts';

export interface Contender {
  readonly name: string;
  /** What each round needs before the clock starts. */
  prepare?(round: number): void;
  run(round: number): Sample;
}

/** The samples of one contender, by round. */
export interface Series {
  readonly name: string;
  readonly samples: readonly Sample[];
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Shorter samples are not told one by one. */
const TOLD_SECONDS_MIN = 1;

/** Each round runs every contender once, beginning with another one each time. Tells on standard error how it goes. */
export function interleave(contenders: readonly Contender[], rounds: number): Series[] {
  const series = contenders.map((contender) => ({ name: contender.name, samples: [] as Sample[] }));
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < contenders.length; turn += 1) {
      const index = (round + turn) % contenders.length;
      const contender = contenders[index];
      if (contender === undefined) continue;
      contender.prepare?.(round);
      const sample = contender.run(round);
      series[index]?.samples.push(sample);
      if (sample.seconds < TOLD_SECONDS_MIN) continue;
      const told = `round ${String(round + 1)} ${contender.name}: ${sample.seconds.toFixed(3)} s`;
      process.stderr.write(`  ${told}, durable ${sample.durableSeconds.toFixed(3)} s\n`);
    }
  }
  return series;
}

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  const lower = sorted.length % 2 === 0 ? (sorted[middle - 1] ?? Number.NaN) : upper;
  return { median: (lower + upper) / 2, min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN };
}

/** The subject's time over the peer's, round by round. */
export function ratio(subject: Series, peer: Series): Spread {
  return spread(
    subject.samples.flatMap((sample, round) => {
      const other = peer.samples[round];
      return other === undefined ? [] : [sample.durableSeconds / other.durableSeconds];
    }),
  );
}
