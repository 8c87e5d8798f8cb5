/** P10: how many requests to the store random writes over NBD cost, and an idle volume. */
import path from 'node:path';
import { putsMax, type PutCounts } from '../test/soak/served/puts.ts';
import { callScript } from './programs.ts';
import type { ReadyFinding } from './report.ts';
import { workFolder, type Settings } from './settings.ts';

const BYTES = 2 ** 30;
const IDLE_MS = 60_000;
const RUN = path.join(import.meta.dirname, 'puts-run.ts');

/** Runs once, whatever the rounds: requests are counted, not timed. */
export function benchPuts(settings: Settings): ReadyFinding<PutCounts> {
  using work = workFolder(settings, 'p10');
  const counts = callScript(RUN, work.path, String(BYTES), String(IDLE_MS)) as PutCounts;
  const mib = (bytes: number): string => String(Math.round(bytes / 2 ** 20));
  const lines = [
    '### P10: requests of random writes',
    '',
    `${mib(BYTES)} MiB of writes of 4 KiB that do not compress, in random places of a volume of 1 GiB, 32 in flight; then a snapshot, so that all of it is in the store; then a minute of nothing. Counted by the gateway itself, below its retries. Run once.`,
    '',
    '| | figure | bar |',
    '| --- | --- | --- |',
    `| PUTs, the snapshot's own included | ${String(counts.puts)} | <= ${String(putsMax(counts))} |`,
    `| of these segments | ${String(counts.segments)} | |`,
    `| other requests | ${String(counts.otherRequests)} | |`,
    `| uploaded | ${mib(counts.uploadedBytes)} MiB | |`,
    `| requests in ${String(counts.idleSeconds)} s of nothing | ${String(counts.idleRequests)} | 0 |`,
    `| seconds until all was in the store | ${counts.seconds.toFixed(1)} | |`,
  ];
  return { id: 'P10', markdown: `${lines.join('\n')}\n`, samples: counts };
}
