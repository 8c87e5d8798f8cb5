/** What a store holds, counted from one list of its keys; what the gateway asks of it, and what a month of that costs. */
import { Catalog, volumeOfKey } from '../../blockstore/index.ts';
import { isSnapshotId } from '../../kit/index.ts';
import type { CallContext, Forecast, Input, PriceTable, StoreStatsDocument, VolumeCost } from '../../localapi/index.ts';
import { resolveVolume } from '../references.ts';
import type { Session } from '../session.ts';
import { volumeSettings } from '../serving/settings.ts';
import { forecastOf, intervalForecasts, MEASURED_MS_MIN, monthOf } from './forecast.ts';
import { KIND_NAMES, kindOf } from './kinds.ts';
import { choosePrices, pricesPath, type ChosenPrices } from './prices.ts';
import { addRequests, noRequests, NO_VOLUME, type RequestTally } from './tally.ts';
import { noUsage, type Measured, type Usage, type UsageBook } from './usage-book.ts';

/** What is known of requests: by the daemon since it began, and what was measured over time. */
export interface KnownUsage {
  readonly book: UsageBook;
  /** Undefined where no daemon runs. */
  readonly counted: { readonly tally: RequestTally; readonly sinceMs: number } | undefined;
}

interface Stored {
  objects: number;
  bytes: number;
}

/** Counts of objects by something. */
class StoredBy {
  readonly counts = new Map<string, Stored>();

  add(what: string, bytes: number): void {
    const count = this.counts.get(what);
    if (count === undefined) this.counts.set(what, { objects: 1, bytes });
    else {
      count.objects += 1;
      count.bytes += bytes;
    }
  }

  of(what: string): Readonly<Stored> {
    return this.counts.get(what) ?? { objects: 0, bytes: 0 };
  }
}

/**
 * Costs a list of the whole store, and reading the catalog.
 * @throws invalid `bad-prices`; notFound `volume-not-found`
 */
export async function storeStats(
  session: Session,
  { book, counted }: KnownUsage,
  input: Input<'store.stats'>,
  call: CallContext,
): Promise<StoreStatsDocument> {
  const { objects } = session.blocks;
  const chosen = await choosePrices(session.home, input.prices, objects.facts?.()?.provider ?? null);
  const named =
    input.volume === undefined ? undefined : await resolveVolume(session.catalog, input.volume, call.signal);
  const kinds = new StoredBy();
  const owners = new StoredBy();
  for await (const { key, sizeBytes } of objects.list('', { signal: call.signal })) {
    kinds.add(kindOf(key), sizeBytes);
    owners.add(volumeOfKey(key) ?? snapshotOfKey(key) ?? NO_VOLUME, sizeBytes);
  }
  const measured = book.measured();
  const { rows, volumes, snapshots } = await volumeRows(session, owners, measured, chosen.prices, call);
  const shown = named === undefined ? rows : rows.filter(({ volumeId }) => volumeId === named.volumeId);
  const own = named === undefined ? undefined : measured.volumes.get(named.volumeId);
  const settings = named && (await volumeSettings(session.home, session.settings, named.volumeId));
  const all = [...kinds.counts.values()];
  return {
    store: objects.description,
    storeId: session.storeId,
    objects: all.reduce((sum, count) => sum + count.objects, 0),
    totalBytes: all.reduce((sum, count) => sum + count.bytes, 0),
    kinds: KIND_NAMES.flatMap((kind) => (kinds.counts.has(kind) ? [{ kind, ...kinds.of(kind) }] : [])),
    volumes,
    snapshots,
    requests: counted === undefined ? null : requestsOf(counted),
    prices: chosen.prices,
    pricesPath: chosen.path,
    measured: {
      ranMs: Math.round(measured.ranMs),
      since: measured.sinceMs === null ? null : new Date(measured.sinceMs).toISOString(),
    },
    byVolume: shown,
    forecast: sumOf(shown),
    intervals: own && settings ? intervalForecasts(own, settings.sealIntervalMs, chosen.prices) : [],
    remarks: [...measuredRemarks(shown, measured), ...priceRemarks(session, chosen)],
  };
}

function snapshotOfKey(key: string): string | undefined {
  const [folder, id] = key.split('/');
  return folder === 'snapshots' && id !== undefined && isSnapshotId(id) ? id : undefined;
}

function requestsOf({ tally, sinceMs }: NonNullable<KnownUsage['counted']>): StoreStatsDocument['requests'] {
  const total = noRequests();
  const kinds = tally.kinds();
  for (const { counts } of kinds) addRequests(total, counts);
  return {
    since: new Date(sinceMs).toISOString(),
    total,
    kinds: kinds.map(({ kind, counts }) => ({ kind, ...counts })),
  };
}

/** Rows of the account's volumes, and one of everything else. */
async function volumeRows(
  session: Session,
  owners: StoredBy,
  measured: Measured,
  prices: PriceTable,
  call: CallContext,
): Promise<{ rows: VolumeCost[]; volumes: number; snapshots: number }> {
  // Of the whole store, whatever account asks.
  const catalog = new Catalog(session.blocks);
  const options = { includeDeleted: true, signal: call.signal };
  const [volumes, snapshots] = await Promise.all([catalog.surveyVolumes(options), catalog.surveySnapshots(options)]);
  const own = volumes.entries.filter((entry) => session.catalog.owns(entry));
  const stored = new Map<string, Stored>(own.map(({ volumeId }) => [volumeId, { objects: 0, bytes: 0 }]));
  const rest = { objects: 0, bytes: 0 };
  const ownerOf = new Map<string, string>(snapshots.entries.map((entry) => [entry.snapshotId, entry.volumeId]));
  for (const [owner, { objects, bytes }] of owners.counts) {
    const count = stored.get(ownerOf.get(owner) ?? owner) ?? rest;
    count.objects += objects;
    count.bytes += bytes;
  }
  const others = noUsage();
  for (const [volumeId, { requests }] of measured.volumes)
    if (!stored.has(volumeId)) addRequests(others.requests, requests);
  const rows = own.map(({ volumeId, name, state }) => {
    const usage = measured.volumes.get(volumeId) ?? noUsage();
    // What is asked of a volume that nobody serves, gc and lists ask as long as the gateway runs.
    const measuredMs = usage.servedMs > 0 ? usage.servedMs : measured.ranMs;
    const row = rowOf({ volumeId, name, state }, stored.get(volumeId) ?? rest, usage, measuredMs, prices);
    return { ...row, measuredMs: Math.round(usage.servedMs) };
  });
  const costOf = ({ forecast }: VolumeCost): number => forecast.total ?? forecast.storage;
  rows.sort((a, b) => costOf(b) - costOf(a) || b.bytes - a.bytes);
  const remainder = rowOf({ volumeId: null, name: null, state: null }, rest, others, measured.ranMs, prices);
  const living = volumes.entries.filter(({ state }) => state !== 'deleted').length;
  return {
    rows: [...rows, remainder],
    volumes: living + volumes.damaged.length,
    snapshots: snapshots.entries.filter(({ state }) => state !== 'deleted').length + snapshots.damaged.length,
  };
}

function rowOf(
  volume: Pick<VolumeCost, 'volumeId' | 'name' | 'state'>,
  { objects, bytes }: Readonly<Stored>,
  { requests }: Readonly<Usage>,
  measuredMs: number,
  prices: PriceTable,
): VolumeCost {
  return {
    ...volume,
    ...{ objects, bytes, requests: { ...requests } },
    measuredMs: Math.round(measuredMs),
    forecast: forecastOf(bytes, monthOf(requests, measuredMs), prices),
  };
}

/** Null where nothing of it is known; else of those rows of which it is. */
function sumOf(rows: readonly VolumeCost[]): Forecast {
  const sum = (of: (forecast: Forecast) => number | null): number | null => {
    const known = rows.flatMap(({ forecast }) => of(forecast) ?? []);
    return known.length === 0 ? null : known.reduce((total, amount) => total + amount, 0);
  };
  const storage = rows.reduce((total, { forecast }) => total + forecast.storage, 0);
  const [requests, traffic] = [sum((forecast) => forecast.requests), sum((forecast) => forecast.traffic)];
  const total = requests === null || traffic === null ? null : storage + requests + traffic;
  return { storage, requests, traffic, total };
}

function measuredRemarks(rows: readonly VolumeCost[], { ranMs }: Measured): string[] {
  const hours = String(MEASURED_MS_MIN / 3_600_000);
  if (ranMs < MEASURED_MS_MIN)
    return [
      `Requests are measured while the gateway runs, so far for ${String(Math.floor(ranMs / 60_000))} min; a month is forecast from ${hours} h on.`,
    ];
  const missing = rows
    .filter(({ forecast }) => forecast.requests === null)
    .map(({ name }) => name ?? 'everything else');
  if (missing.length === 0) return [];
  return [`Served for less than ${hours} h, so that requests are in no forecast: ${missing.join(', ')}.`];
}

function priceRemarks({ home }: Session, { prices, path }: ChosenPrices): string[] {
  if (path !== null) return [];
  const own = `your own go into ${pricesPath(home)} (docs/COST.md)`;
  if (prices.source === null) return [`No prices are known for this store: ${own}.`];
  const age = prices.checkedOn === null ? 'were not checked' : `are of ${prices.checkedOn}`;
  return [`The prices ${age}, without free amounts and taxes. See ${prices.source}; ${own}.`];
}
