/**
 * What a provider takes for storage, requests and traffic: tables of this program, and the user's own in `<home>/prices.json`.
 * One price for each thing: no steps, free amounts, minimum times, taxes.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GIB, quoted, SgwError, toSgwError } from '../../kit/index.ts';
import type { PriceTable, PriceTableName } from '../../localapi/index.ts';
import { STORE_OPERATIONS } from '../../objectstore/index.ts';
import type { RequestCounts } from './tally.ts';

const GB = 1_000_000_000;

/** Where a home has prices of its own. */
export const pricesPath = (home: string): string => join(home, 'prices.json');

const TABLES: Readonly<Record<PriceTableName, PriceTable>> = {
  aws: {
    name: 'AWS S3 Standard, us-east-1',
    currency: 'USD',
    gigabyteBytes: GIB,
    storagePerGigabyteMonth: 0.023,
    putPerThousand: 0.005,
    getPerThousand: 0.0004,
    headPerThousand: 0.0004,
    listPerThousand: 0.005,
    deletePerThousand: 0,
    uploadPerGigabyte: 0,
    downloadPerGigabyte: 0.09,
    checkedOn: null,
    source: 'https://aws.amazon.com/s3/pricing/',
  },
  r2: {
    name: 'Cloudflare R2, standard storage',
    currency: 'USD',
    gigabyteBytes: GB,
    storagePerGigabyteMonth: 0.015,
    putPerThousand: 0.0045,
    getPerThousand: 0.000_36,
    headPerThousand: 0.000_36,
    listPerThousand: 0.0045,
    deletePerThousand: 0,
    uploadPerGigabyte: 0,
    downloadPerGigabyte: 0,
    checkedOn: '2026-08-03',
    source: 'https://developers.cloudflare.com/r2/pricing/',
  },
  b2: {
    name: 'Backblaze B2, pay as you go',
    currency: 'USD',
    gigabyteBytes: GB,
    storagePerGigabyteMonth: 0.006_95,
    putPerThousand: 0,
    getPerThousand: 0,
    headPerThousand: 0,
    listPerThousand: 0,
    deletePerThousand: 0,
    uploadPerGigabyte: 0,
    downloadPerGigabyte: 0.01,
    checkedOn: '2026-09-11',
    source: 'https://www.backblaze.com/cloud-storage/pricing',
  },
  gcs: {
    name: 'Google Cloud Storage, standard, us-central1',
    currency: 'USD',
    gigabyteBytes: GIB,
    storagePerGigabyteMonth: 0.02,
    putPerThousand: 0.005,
    getPerThousand: 0.0004,
    headPerThousand: 0.0004,
    listPerThousand: 0.005,
    deletePerThousand: 0,
    uploadPerGigabyte: 0,
    downloadPerGigabyte: 0.12,
    checkedOn: '2026-09-20',
    source: 'https://cloud.google.com/storage/pricing',
  },
  own: {
    name: 'storage of your own, without a price',
    currency: 'USD',
    gigabyteBytes: GB,
    storagePerGigabyteMonth: 0,
    putPerThousand: 0,
    getPerThousand: 0,
    headPerThousand: 0,
    listPerThousand: 0,
    deletePerThousand: 0,
    uploadPerGigabyte: 0,
    downloadPerGigabyte: 0,
    checkedOn: null,
    source: null,
  },
};

/** By the name that objectstore/s3/providers.ts gives. */
const BY_PROVIDER: Readonly<Record<string, PriceTableName>> = {
  'AWS S3': 'aws',
  'Cloudflare R2': 'r2',
  'Backblaze B2': 'b2',
  'Google Cloud Storage': 'gcs',
};

const PRICES = [
  ...(['storagePerGigabyteMonth', 'putPerThousand', 'getPerThousand', 'headPerThousand', 'listPerThousand'] as const),
  ...(['deletePerThousand', 'uploadPerGigabyte', 'downloadPerGigabyte'] as const),
] satisfies readonly (keyof PriceTable)[];

export interface ChosenPrices {
  readonly prices: PriceTable;
  /** The user's file that they are of; null: a table of this program. */
  readonly path: string | null;
}

/**
 * The table that is asked for; else the user's own; else that of the provider.
 * @throws invalid `bad-prices` for a file that is not as it has to be
 */
export async function choosePrices(
  home: string,
  wanted: PriceTableName | undefined,
  provider: string | null,
): Promise<ChosenPrices> {
  if (wanted !== undefined) return { prices: TABLES[wanted], path: null };
  const path = pricesPath(home);
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw toSgwError(error);
  });
  if (text !== undefined) return { prices: parsePrices(text, path), path };
  return { prices: TABLES[BY_PROVIDER[provider ?? ''] ?? 'own'], path: null };
}

/** @throws invalid `bad-prices` naming the file and the field */
export function parsePrices(text: string, path: string): PriceTable {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw badPrices(path, `it is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badPrices(path, 'it is not an object');
  const fields = value as Readonly<Record<string, unknown>>;
  const unknown = Object.keys(fields).find((name) => !Object.hasOwn(TABLES.own, name));
  if (unknown !== undefined) throw badPrices(path, `there is no field ${quoted(unknown)}`);
  const { name, currency, gigabyteBytes = GB, checkedOn = null, source = null } = fields;
  if (!isText(name)) throw badPrices(path, '"name" is not a text of 1 to 200 characters');
  if (!matches(currency, /^[A-Z]{3}$/))
    throw badPrices(path, '"currency" is not a code of three capital letters, such as EUR');
  if (gigabyteBytes !== GB && gigabyteBytes !== GIB)
    throw badPrices(path, `"gigabyteBytes" is neither ${String(GB)} nor ${String(GIB)}`);
  if (checkedOn !== null && !matches(checkedOn, /^\d{4}-\d\d-\d\d$/))
    throw badPrices(path, '"checkedOn" is not a date such as 2026-11-29, or null');
  if (source !== null && !isText(source)) throw badPrices(path, '"source" is not a text, or null');
  return { ...{ name, currency, gigabyteBytes, checkedOn, source }, ...amountsOf(fields, path) };
}

function amountsOf(fields: Readonly<Record<string, unknown>>, path: string): Record<(typeof PRICES)[number], number> {
  const amounts = PRICES.map((price) => {
    const amount = fields[price];
    if (amount === undefined) throw badPrices(path, `"${price}" is missing; 0 is without a price`);
    if (!Number.isFinite(amount) || (amount as number) < 0)
      throw badPrices(path, `"${price}" is not a number from 0 on`);
    return [price, amount as number] as const;
  });
  return Object.fromEntries(amounts) as Record<(typeof PRICES)[number], number>;
}

const matches = (value: unknown, pattern: RegExp): value is string => typeof value === 'string' && pattern.test(value);

const isText = (value: unknown): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= 200;

const badPrices = (path: string, what: string): SgwError =>
  new SgwError('invalid', 'bad-prices', `${path} can not be used: ${what}`, {
    hint: 'docs/COST.md shows what belongs into it; without the file, prices of this program count.',
    details: { path },
  });

/** For storing so much for a month. */
export const storagePrice = (bytes: number, prices: PriceTable): number =>
  (bytes / prices.gigabyteBytes) * prices.storagePerGigabyteMonth;

/** For the requests alone. */
export const requestPrice = (counts: Readonly<RequestCounts>, prices: PriceTable): number =>
  STORE_OPERATIONS.reduce((sum, name) => sum + (counts[name] / 1000) * prices[`${name}PerThousand`], 0);

/** For the bytes of bodies, both ways. */
export const trafficPrice = ({ upBytes, downBytes }: Readonly<RequestCounts>, prices: PriceTable): number =>
  (upBytes * prices.uploadPerGigabyte + downBytes * prices.downloadPerGigabyte) / prices.gigabyteBytes;
