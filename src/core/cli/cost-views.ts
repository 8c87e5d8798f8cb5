/** What a store holds, what is asked of it and what that costs, as people read it. */
import { formatSize, printable } from '../kit/index.ts';
import type { Forecast, IntervalForecast, StoreStatsDocument, VolumeCost } from '../localapi/index.ts';
import type { Style } from './style.ts';
import {
  formatDuration,
  formatTime,
  plural,
  renderFields,
  renderTable,
  withRemarks,
  type Column,
  type Field,
} from './tables.ts';

/** Below that an amount is shown with more digits. */
const CENT = 0.01;

/** `12.34`, `0.0012`, `0`. */
const formatAmount = (amount: number): string =>
  amount === 0
    ? '0'
    : amount < CENT
      ? Number(amount.toPrecision(2)) < 1e-6
        ? '<0.000001'
        : decimal(amount)
      : amount.toFixed(2);

/** Two digits that count, never as a power of ten. */
const decimal = (amount: number): string => amount.toFixed(Math.min(6, 1 - Math.floor(Math.log10(amount))));

const amountOr = (amount: number | null): string => (amount === null ? '?' : formatAmount(amount));

/** The whole of `store stats`; of one volume when the document is of one. */
export async function storeStatsText(
  stats: StoreStatsDocument,
  style: Style,
  columns: number,
  isOfOne = false,
): Promise<string> {
  const tables = isOfOne
    ? [await intervalTable(stats, style, columns)]
    : [
        await kindTable(stats, style, columns),
        await requestTable(stats, style, columns),
        await volumeTable(stats, style, columns),
      ];
  const fields = renderFields(isOfOne ? volumeFields(stats) : storeFields(stats), style);
  const text = [fields, ...tables.filter((table) => table !== '')].join('\n\n');
  return withRemarks(stats.remarks.length === 0 ? text : `${text}\n`, stats.remarks, style);
}

function storeFields(stats: StoreStatsDocument): Field[] {
  return [
    ['store', `${stats.store} (${stats.storeId})`],
    ['holds', `${formatSize(stats.totalBytes)} in ${plural(stats.objects, 'object')}`],
    ['volumes', String(stats.volumes)],
    ['snapshots', String(stats.snapshots)],
    ...costFields(stats),
  ];
}

function volumeFields(stats: StoreStatsDocument): Field[] {
  const [volume] = stats.byVolume;
  if (volume === undefined) return costFields(stats);
  const { put, get, head, list, upBytes, downBytes } = volume.requests;
  const asked = put + get + head + list + volume.requests.delete;
  return [
    ['volume', `${volume.name ?? ''} (${volume.volumeId ?? ''})`],
    ['stored', `${formatSize(volume.bytes)} in ${plural(volume.objects, 'object')}`],
    [
      'requests',
      asked === 0 && volume.measuredMs === 0
        ? 'none were measured'
        : `${plural(put, 'PUT')}, ${plural(get, 'GET')}, ${String(asked - put - get)} others in ${formatDuration(volume.measuredMs)}`,
    ],
    ['traffic', `${formatSize(upBytes)} up, ${formatSize(downBytes)} down`],
    ...costFields(stats),
  ];
}

/** Whether anything has a price: without one, nothing is said of costs. */
const isPriced = ({ forecast, prices, pricesPath }: StoreStatsDocument): boolean =>
  pricesPath !== null || prices.source !== null || (forecast.total ?? forecast.storage) > 0;

function costFields(stats: StoreStatsDocument): Field[] {
  const { measured, prices, pricesPath, forecast } = stats;
  const since = measured.since === null ? '' : ` since ${formatTime(measured.since)} UTC`;
  return [
    ['measured', measured.since === null ? 'nothing yet' : `${formatDuration(measured.ranMs)} of running${since}`],
    ['prices', pricesPath === null ? prices.name : `${prices.name}, of ${pricesPath}`],
    ['forecast', isPriced(stats) ? forecastText(forecast, prices.currency) : null],
  ];
}

/** `2.00 USD a month: storage 0.50, requests 1.25, traffic 0.25`. */
function forecastText({ storage, requests, traffic, total }: Forecast, currency: string): string {
  if (total === null || requests === null || traffic === null)
    return `storage ${formatAmount(storage)} ${currency} a month; too little is measured for the rest`;
  const parts = `storage ${formatAmount(storage)}, requests ${formatAmount(requests)}, traffic ${formatAmount(traffic)}`;
  return `${formatAmount(total)} ${currency} a month: ${parts}`;
}

const kindTable = async ({ kinds }: StoreStatsDocument, style: Style, columns: number): Promise<string> =>
  kinds.length === 0
    ? ''
    : await renderTable(
        kinds,
        [
          { head: 'KIND', value: (kind) => kind.kind },
          { head: 'OBJECTS', value: (kind) => String(kind.objects), align: 'right' },
          { head: 'BYTES', value: (kind) => formatSize(kind.bytes), align: 'right' },
        ],
        style,
        columns,
      );

async function requestTable({ requests }: StoreStatsDocument, style: Style, columns: number): Promise<string> {
  if (requests === null) return '';
  const rows = [...requests.kinds, { kind: 'total', ...requests.total }];
  const table = await renderTable(
    rows,
    [
      { head: 'REQUESTS', value: (row) => row.kind },
      { head: 'PUT', value: (row) => String(row.put), align: 'right' },
      { head: 'GET', value: (row) => String(row.get), align: 'right' },
      { head: 'HEAD', value: (row) => String(row.head), align: 'right' },
      { head: 'LIST', value: (row) => String(row.list), align: 'right' },
      { head: 'DELETE', value: (row) => String(row.delete), align: 'right' },
      { head: 'UP', value: (row) => formatSize(row.upBytes), align: 'right' },
      { head: 'DOWN', value: (row) => formatSize(row.downBytes), align: 'right' },
    ],
    style,
    columns,
  );
  return `${style.dim(`Since the gateway began, ${formatTime(requests.since)} UTC:`)}\n${table}`;
}

async function volumeTable(stats: StoreStatsDocument, style: Style, columns: number): Promise<string> {
  const { byVolume, prices } = stats;
  const common: Column<VolumeCost>[] = [
    { head: 'VOLUME', value: nameOf, isCut: true },
    { head: 'STORED', value: (row) => formatSize(row.bytes), align: 'right' },
    { head: 'SERVED', value: (row) => (row.measuredMs === 0 ? '-' : formatDuration(row.measuredMs)), align: 'right' },
  ];
  const used: Column<VolumeCost>[] = [
    { head: 'PUT', value: ({ requests }) => String(requests.put), align: 'right' },
    { head: 'GET', value: ({ requests }) => String(requests.get), align: 'right' },
    { head: 'UP', value: ({ requests }) => formatSize(requests.upBytes), align: 'right' },
    { head: 'DOWN', value: ({ requests }) => formatSize(requests.downBytes), align: 'right' },
  ];
  const priced: Column<VolumeCost>[] = [
    { head: 'STORAGE', value: ({ forecast }) => formatAmount(forecast.storage), align: 'right' },
    { head: 'REQUESTS', value: ({ forecast }) => amountOr(forecast.requests), align: 'right' },
    { head: 'TRAFFIC', value: ({ forecast }) => amountOr(forecast.traffic), align: 'right' },
    { head: 'TOTAL', value: ({ forecast }) => amountOr(forecast.total), align: 'right' },
  ];
  const [title, layout] = isPriced(stats)
    ? [`A month that goes on like what was measured, in ${printable(prices.currency)}:`, priced]
    : ['Stored now, and asked while it was measured:', used];
  const table = await renderTable(byVolume, [...common, ...layout], style, columns);
  return `${style.dim(title)}\n${table}`;
}

const nameOf = ({ name, state, volumeId }: VolumeCost): string => {
  if (volumeId === null) return 'everything else';
  return state === 'available' || state === null ? (name ?? volumeId) : `${name ?? volumeId} (${state})`;
};

async function intervalTable(stats: StoreStatsDocument, style: Style, columns: number): Promise<string> {
  const { intervals, prices } = stats;
  if (intervals.length === 0) return '';
  const price: Column<IntervalForecast> = {
    head: prices.currency,
    value: (row) => formatAmount(row.price),
    align: 'right',
  };
  const table = await renderTable<IntervalForecast>(
    intervals,
    [
      { head: 'EVERY', value: (row) => intervalText(row.intervalMs) },
      { head: '', value: (row) => (row.isCurrent ? 'now' : '') },
      { head: 'RECOVERY POINTS', value: (row) => String(row.commits), align: 'right' },
      { head: 'PUT', value: (row) => String(row.puts), align: 'right' },
      ...(isPriced(stats) ? [price] : []),
      { head: 'NOT IN THE STORE', value: (row) => `up to ${intervalText(row.intervalMs)}` },
    ],
    style,
    columns,
  );
  return `${style.dim('A month of the same writes, with recovery points at the latest')}\n${table}`;
}

/** `10 s`, `15 min`, `1 h`. */
function intervalText(ms: number): string {
  if (ms % 3_600_000 === 0) return `${String(ms / 3_600_000)} h`;
  if (ms % 60_000 === 0) return `${String(ms / 60_000)} min`;
  return ms % 1000 === 0 ? `${String(ms / 1000)} s` : formatDuration(ms);
}
