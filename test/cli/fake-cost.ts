/** What the store of the gateway in memory holds and costs. */
import type { Handlers, VolumeCost } from '../../src/core/localapi/index.ts';

const REQUESTS = { put: 3, get: 2, head: 0, list: 1, delete: 0, upBytes: 12_345, downBytes: 4096 };
const FORECAST = { storage: 0.5, requests: 1.25, traffic: 0.25, total: 2 };
const VOLUME: VolumeCost = {
  volumeId: 'vol-00000000000000001',
  name: 'golden',
  state: 'available',
  objects: 3,
  bytes: 12_345,
  requests: REQUESTS,
  measuredMs: 7_200_000,
  forecast: FORECAST,
};
const UNKNOWN = { storage: 0.004, requests: null, traffic: null, total: null };
const REST: VolumeCost = { ...VOLUME, volumeId: null, name: null, state: null, measuredMs: 0, forecast: UNKNOWN };

export const costHandlers = (
  volumeOf: (ref: string) => unknown,
  counts: () => { readonly volumes: number; readonly snapshots: number },
): Pick<Handlers, 'store.stats'> => ({
  'store.stats': async (input) => {
    if (input.volume !== undefined) volumeOf(input.volume);
    return Promise.resolve({
      store: '/home/fake/store',
      storeId: 'store-1',
      objects: 3,
      totalBytes: 12_345,
      kinds: [{ kind: 'segments', objects: 3, bytes: 12_345 }],
      ...counts(),
      requests: { since: '2026-11-22T23:45:00.000Z', total: REQUESTS, kinds: [{ kind: 'segments', ...REQUESTS }] },
      prices: {
        name: input.prices ?? 'AWS S3 Standard',
        currency: 'USD',
        gigabyteBytes: 1_000_000_000,
        storagePerGigabyteMonth: 0.023,
        putPerThousand: 0.005,
        getPerThousand: 0.0004,
        headPerThousand: 0.0004,
        listPerThousand: 0.005,
        deletePerThousand: 0,
        uploadPerGigabyte: 0,
        downloadPerGigabyte: 0.09,
        checkedOn: null,
        source: null,
      },
      pricesPath: null,
      measured: { ranMs: 7_200_000, since: '2026-11-22T21:00:00.000Z' },
      byVolume: input.volume === undefined ? [VOLUME, REST] : [VOLUME],
      forecast: FORECAST,
      intervals:
        input.volume === undefined
          ? []
          : [
              { intervalMs: 10_000, isCurrent: true, commits: 262_800, puts: 271_012, price: 1.35506 },
              { intervalMs: 900_000, isCurrent: false, commits: 2920, puts: 3011, price: 0.015_055 },
            ],
      remarks: ['The prices were not checked.'],
    });
  },
});
