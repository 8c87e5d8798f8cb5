/** The documents of what a store holds, what is asked of it, and what that costs. As in `schemas.ts`, fields are only ever added. */
import Type, { type Static } from 'typebox';
import { Bytes, Nullable, object, Time } from './schema-parts.ts';

const Count = Type.Integer({ minimum: 0 });
/** In the currency of the price table. */
const Amount = Type.Number({ minimum: 0 });
const closed = <P extends Type.TProperties>(properties: P): Type.TObject<P> =>
  Type.Object(properties, { additionalProperties: false });

const REQUESTS = { put: Count, get: Count, head: Count, list: Count, delete: Count, upBytes: Bytes, downBytes: Bytes };
const Requests = closed(REQUESTS);

const Forecast = closed({
  /** Of what is stored now. */
  storage: Amount,
  /** At the pace that was measured; null, as what follows, when that was too short. */
  requests: Nullable(Amount),
  /** Bodies of objects, both ways. */
  traffic: Nullable(Amount),
  total: Nullable(Amount),
});

const IntervalForecast = closed({
  /** Recovery points come at the latest so far apart; what was written since the last one is not in the store. */
  intervalMs: Count,
  /** Whether it is the volume's own. */
  isCurrent: Type.Boolean(),
  commits: Count,
  puts: Count,
  /** Of these PUTs. */
  price: Amount,
});

export const PriceTableName = Type.Union([
  Type.Literal('aws'),
  Type.Literal('r2'),
  Type.Literal('b2'),
  Type.Literal('gcs'),
  Type.Literal('own'),
]);

const PriceTable = closed({
  name: Type.String(),
  /** ISO 4217. */
  currency: Type.String(),
  /** What the provider calls a gigabyte: 10^9 or 2^30. */
  gigabyteBytes: Type.Integer({ minimum: 1 }),
  storagePerGigabyteMonth: Amount,
  putPerThousand: Amount,
  getPerThousand: Amount,
  headPerThousand: Amount,
  listPerThousand: Amount,
  deletePerThousand: Amount,
  uploadPerGigabyte: Amount,
  downloadPerGigabyte: Amount,
  /** The day on which the source was read; null when it was not. */
  checkedOn: Nullable(Type.String()),
  source: Nullable(Type.String()),
});

const VolumeCost = closed({
  /** Null: everything else, such as other accounts' volumes, what is left of purged ones, and what belongs to none. */
  volumeId: Nullable(Type.String()),
  name: Nullable(Type.String()),
  state: Nullable(Type.String()),
  /** Under the volume's own keys, and of its snapshots; what clones share counts where it was written first. */
  objects: Count,
  bytes: Bytes,
  /** While it was measured. */
  requests: Requests,
  /** How long the volume was served while it was measured. */
  measuredMs: Count,
  forecast: Forecast,
});

export const StoreStatsDocument = object('store-stats', {
  store: Type.String(),
  storeId: Type.String(),
  objects: Count,
  totalBytes: Bytes,
  kinds: Type.Array(closed({ kind: Type.String(), objects: Count, bytes: Bytes })),
  volumes: Count,
  snapshots: Count,
  /** Requests since the daemon began, by the kind of object; null where no daemon runs. */
  requests: Nullable(
    closed({ since: Time, total: Requests, kinds: Type.Array(closed({ kind: Type.String(), ...REQUESTS })) }),
  ),
  prices: PriceTable,
  /** The file that the prices are of; null: a table of this program. */
  pricesPath: Nullable(Type.String()),
  /** What the daemon measured in the last month: how long it ran, and from when on. */
  measured: closed({ ranMs: Count, since: Nullable(Time) }),
  /** One row each, those that cost most first, and one for everything else; only that volume when one was named. */
  byVolume: Type.Array(VolumeCost),
  /** Of a month, of all rows together. */
  forecast: Forecast,
  /** What other intervals of recovery points would cost the volume that was named; empty when none was, or too little was measured. */
  intervals: Type.Array(IntervalForecast),
  remarks: Type.Array(Type.String()),
});

export type PriceTableName = Static<typeof PriceTableName>;
export type PriceTable = Static<typeof PriceTable>;
export type Forecast = Static<typeof Forecast>;
export type IntervalForecast = Static<typeof IntervalForecast>;
export type VolumeCost = Static<typeof VolumeCost>;
export type StoreStatsDocument = Static<typeof StoreStatsDocument>;
