/** What a month costs that goes on like what was measured. Pure. */
import { MODELLED_INTERVALS_MS } from '../../volume/index.ts';
import type { Forecast, IntervalForecast, PriceTable } from '../../localapi/index.ts';
import { requestPrice, storagePrice, trafficPrice } from './prices.ts';
import { COUNTED, noRequests, type RequestCounts } from './tally.ts';
import type { Usage } from './usage-book.ts';

/** A month of 730 hours, as providers count it. */
export const MONTH_MS = 730 * 3_600_000;
/** Below that, nothing is said of a month. */
export const MEASURED_MS_MIN = 3_600_000;

/** Commits after which the map and the head are stored (blockstore/volume-writer.ts). */
const CHECKPOINT_COMMITS = 64;
const PUTS_OF_CHECKPOINT = 2;

/** A month's requests at the pace of `measuredMs`; undefined when that is too short. */
export function monthOf(counts: Readonly<RequestCounts>, measuredMs: number): RequestCounts | undefined {
  if (measuredMs < MEASURED_MS_MIN) return undefined;
  const month = noRequests();
  for (const name of COUNTED) month[name] = counts[name] * (MONTH_MS / measuredMs);
  return month;
}

/** Of what is stored now, and of a month's requests; without those only the storage has a price. */
export function forecastOf(bytes: number, month: RequestCounts | undefined, prices: PriceTable): Forecast {
  const storage = storagePrice(bytes, prices);
  if (month === undefined) return { storage, requests: null, traffic: null, total: null };
  const requests = requestPrice(month, prices);
  const traffic = trafficPrice(month, prices);
  return { storage, requests, traffic, total: storage + requests + traffic };
}

/** PUTs that commits cost: a segment each, and now and then a checkpoint. */
export const putsOf = (commits: number): number => commits + (commits / CHECKPOINT_COMMITS) * PUTS_OF_CHECKPOINT;

/** What recovery points more or less often would cost a volume; empty when too little was measured. */
export function intervalForecasts(usage: Readonly<Usage>, currentMs: number, prices: PriceTable): IntervalForecast[] {
  if (usage.servedMs < MEASURED_MS_MIN) return [];
  const modelled = MODELLED_INTERVALS_MS.map((intervalMs, at) => ({
    intervalMs,
    commits: usage.modelledCommits[at] ?? 0,
  }));
  const isModelled = modelled.some(({ intervalMs }) => intervalMs === currentMs);
  const rows = isModelled ? modelled : [...modelled, { intervalMs: currentMs, commits: usage.commits }];
  return rows
    .sort((a, b) => a.intervalMs - b.intervalMs)
    .map(({ intervalMs, commits: measured }) => {
      const commits = measured * (MONTH_MS / usage.servedMs);
      const put = putsOf(commits);
      const price = requestPrice({ ...noRequests(), put }, prices);
      return {
        intervalMs,
        isCurrent: intervalMs === currentMs,
        commits: Math.round(commits),
        puts: Math.round(put),
        price,
      };
    });
}
