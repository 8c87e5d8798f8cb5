/** What a benchmark found, as a table in Markdown: for the terminal, and for docs/BENCHMARKS.md. */
import { ratio, spread, type Series, type Spread } from './rounds.ts';

export interface Finding {
  /** The row of DESIGN section 12: `P6`. */
  readonly id: string;
  readonly title: string;
  /** What was measured on: sizes, what "changed" means. */
  readonly setting: string;
  /** The series that the others are compared with; undefined when the times alone are of interest. */
  readonly subject: string | undefined;
  readonly series: readonly Series[];
  /** By the peer's name: the ratio of times (subject over peer) that is asked for. */
  readonly bars: Readonly<Record<string, number>>;
  /** What could not be run, and why. */
  readonly skipped: readonly string[];
}

/** What a benchmark found that has a table of its own; its text is ready. */
export interface ReadyFinding<S> {
  readonly id: string;
  readonly markdown: string;
  readonly samples: S;
}

/** A finding as a section in Markdown. Ratios are the subject's durable time over the peer's: below 1 is faster. */
export function toMarkdown(finding: Finding): string {
  const subject = finding.series.find((series) => series.name === finding.subject);
  const rounds = Math.max(0, ...finding.series.map((series) => series.samples.length));
  const lines = [
    `### ${finding.id}: ${finding.title}`,
    '',
    `${finding.setting} Rounds: ${String(rounds)}, interleaved; median (lowest to highest).`,
    '',
    ...(finding.subject === undefined
      ? ['| | seconds |', '| --- | --- |', ...finding.series.map(timesRow)]
      : [
          `| | seconds | seconds until synced | stored | time of ${finding.subject} / time of this | bar |`,
          '| --- | --- | --- | --- | --- | --- |',
          ...finding.series.map((series) => comparedRow(series, subject, finding.bars)),
        ]),
  ];
  if (finding.skipped.length > 0) lines.push('', ...finding.skipped.map((one) => `Skipped: ${one}`));
  return `${lines.join('\n')}\n`;
}

function timesRow(series: Series): string {
  return `| ${series.name} | ${format(spread(series.samples.map((sample) => sample.seconds)))} |`;
}

function comparedRow(series: Series, subject: Series | undefined, bars: Readonly<Record<string, number>>): string {
  const times = spread(series.samples.map((sample) => sample.seconds));
  const durable = spread(series.samples.map((sample) => sample.durableSeconds));
  const stored = series.samples.flatMap((sample) => sample.storedBytes ?? []);
  const compared = subject === undefined || subject === series ? '' : format(ratio(subject, series));
  const bar = bars[series.name];
  const asked = bar === undefined ? '' : `<= ${String(bar)}`;
  const cells = [series.name, format(times), format(durable), mebibytes(stored), compared, asked];
  return `| ${cells.join(' | ')} |`;
}

function format({ median, min, max }: Spread): string {
  return `${digits(median)} (${digits(min)}-${digits(max)})`;
}

function digits(value: number): string {
  return value.toPrecision(3).replace(/e[+-]\d+$/, '');
}

function mebibytes(stored: readonly number[]): string {
  if (stored.length === 0) return '';
  return `${(spread(stored).median / 1024 ** 2).toFixed(0)} MiB`;
}
