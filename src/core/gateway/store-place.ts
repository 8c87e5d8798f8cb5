/**
 * Where a gateway's store is, as its state keeps it: a directory inside the home as a path relative to the home, so that
 * the home can be moved as a whole; any other directory as an absolute path; a URL as it is.
 */
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import { encryptionOf, missing, readStoreInfo, refuseUnfinishedCopy, type StoreInfo } from '../blockstore/index.ts';
import { SgwError, toSgwError } from '../kit/index.ts';
import { formatS3Place, isS3Url, isServiceUrl, parseS3Place, type ObjectStore } from '../objectstore/index.ts';
import type { GatewayState } from '../state/index.ts';
import type { GatewayParts } from './parts.ts';

const URL_SCHEME = /^[a-z][a-z0-9+.-]+:\/\//i;

/**
 * What a caller names, as the state keeps it; relative paths are those of the working directory.
 * @throws invalid `bad-store` for the URL of a bucket that is not as it has to be
 */
export function placeOf(home: string, store: string): string {
  if (isS3Url(store)) return formatS3Place(parseS3Place(store));
  if (URL_SCHEME.test(store)) return store;
  const path = resolve(store);
  const inside = relative(home, path);
  const isInside = inside !== '' && inside !== '..' && !inside.startsWith(`..${sep}`) && !isAbsolute(inside);
  return isInside ? inside : path;
}

/** Whether a place is a directory of this machine. */
export const isDirectory = (place: string): boolean => !URL_SCHEME.test(place);

/** What the state keeps, as stores are opened by. */
export function openableStore(home: string, place: string): string {
  return URL_SCHEME.test(place) || isAbsolute(place) ? place : join(home, place);
}

/**
 * For what needs the store as a whole: a gateway sees its account's part only of one that it has from a service.
 * @throws unsupported `store-of-service`
 */
export function requireWholeStore(place: string, what: string): void {
  if (!isServiceUrl(place)) return;
  throw new SgwError(
    'unsupported',
    'store-of-service',
    `${what} needs the whole store, and ${place} is a part of one`,
    {
      hint: 'Whoever runs the service does it there: its store is collected by `sgw service run` itself.',
      details: { store: place },
    },
  );
}

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/i;

/** What to know of the way to a bucket: one that is not encrypted and leaves this machine. */
export function wayRemarks(place: string): string[] {
  if (!isS3Url(place)) return [];
  const url = URL.parse(parseS3Place(place).endpoint ?? '');
  if (url?.protocol !== 'http:' || LOOPBACK.test(url.hostname)) return [];
  return [
    `What goes between this machine and the store is not encrypted on its way (${url.origin}): use https, unless the whole way is trusted.`,
  ];
}

/**
 * Opens the store at `place` and makes sure that it is the one of the gateway.
 * @throws notFound `store-missing`; conflict `another-store` for its own place, `other-store` for a new one; corrupt
 * `encryption-differs`
 */
export async function openStoreOf(
  parts: GatewayParts,
  record: GatewayState,
  place: string,
  signal: AbortSignal,
): Promise<ObjectStore> {
  const description = openableStore(parts.home, place);
  const objects = await parts.openStore(description, { create: false }).catch((error: unknown) => {
    throw withMoveHint(error, description);
  });
  try {
    const info = await readStoreInfo(objects, { signal });
    if (info?.storeId === record.storeId) {
      requireSameEncryption(info, record.encryption);
      return objects;
    }
    if (info === undefined) await refuseNameless(objects, signal);
    throw place === record.store
      ? anotherStore(description, record, info?.storeId)
      : otherStore(description, record, info?.storeId);
  } catch (error) {
    await objects.close();
    throw error;
  }
}

/**
 * For a place without a description of a store.
 * @throws corrupt `object-missing` when there are volumes, and only that is gone; conflict `copy-unfinished`
 */
export async function refuseNameless(objects: ObjectStore, signal: AbortSignal): Promise<void> {
  await refuseUnfinishedCopy(objects, { signal });
  for await (const _ of objects.listFolders('volumes/', { signal })) throw missing('sgw.json');
}

/**
 * For who only tries out a place, in whatever state a store there may be.
 * @throws denied `provider-holds-keys`
 */
export async function refuseProviderStore(objects: ObjectStore, signal: AbortSignal): Promise<void> {
  try {
    await readStoreInfo(objects, { signal });
  } catch (error) {
    if (toSgwError(error).code === 'provider-holds-keys') throw error;
  }
}

function withMoveHint(error: unknown, description: string): unknown {
  if (!(error instanceof SgwError) || error.code !== 'store-missing') return error;
  return new SgwError(error.kind, error.code, error.message, {
    hint: isDirectory(description)
      ? 'Check that its disk is mounted. If the store was moved: sgw configure --store DIR'
      : 'Check the bucket and the endpoint. If the store was moved: sgw configure --store s3://BUCKET/PREFIX',
    details: error.details,
    cause: error,
  });
}

const whatIsThere = (found: string | undefined): string =>
  found === undefined ? 'holds no sgw store' : `holds another store, ${found}`;

function anotherStore(store: string, record: GatewayState, found: string | undefined): SgwError {
  return new SgwError(
    'conflict',
    'another-store',
    `${store} ${whatIsThere(found)}; the gateway was activated over ${record.storeId}`,
    {
      hint: 'Put the store back in its place, or name the place it was moved to: sgw configure --store DIR',
      details: { store, storeId: record.storeId },
    },
  );
}

function otherStore(store: string, record: GatewayState, found: string | undefined): SgwError {
  return new SgwError(
    'conflict',
    'other-store',
    `${store} ${whatIsThere(found)}; the gateway belongs to ${record.storeId}`,
    {
      hint: 'Name the directory that its store was moved to, or activate another home over this one.',
      details: { store, storeId: record.storeId },
    },
  );
}

/** @throws corrupt `encryption-differs` when the store says otherwise of itself than when the home was activated */
function requireSameEncryption(info: StoreInfo, encryption: GatewayState['encryption']): void {
  const found = encryptionOf(info);
  if (found === encryption) return;
  const message = `store ${info.storeId} says encryption ${found}; the gateway was activated with ${encryption}`;
  throw new SgwError('corrupt', 'encryption-differs', message, {
    hint: 'Somebody changed sgw.json in the store: put its true version back, from a copy of the store.',
    details: { storeId: info.storeId, found, expected: encryption },
  });
}
