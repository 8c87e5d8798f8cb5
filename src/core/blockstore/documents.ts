/**
 * JSON documents in the store, changed by compare-and-set. Each carries a random change id, so that a write whose
 * reply was lost is recognised as done when the next try meets 412 (C3).
 */
import { SgwError } from '../kit/index.ts';
import type { Etag } from '../objectstore/index.ts';
import { damaged, missing, unlessPutBack } from './damage.ts';
import { blake3Short } from './hash.ts';
import { keys } from './keys.ts';
import { openFields, sealFields } from './sealing/document-seal.ts';
import { withSignal, type BlockStoreOptions, type DocumentReading } from './options.ts';

/** A version of a document that is in the store. */
export interface DocumentVersion {
  readonly etag: Etag;
  /** From 1; each change makes the next. */
  readonly version: number;
}

export interface Stored<T> extends DocumentVersion {
  readonly value: T;
}

interface Envelope {
  readonly check: string;
  /** The document's own key: one that was put in the place of another is damage. */
  readonly key: string;
  readonly format: number;
  readonly changeId: string;
  readonly version: number;
}

const TRIES = 64;

/**
 * Reads a document; undefined when there is none.
 * @throws corrupt `object-damaged`, also when a newer version was seen before, `object-missing`; unsupported `document-format`; denied `key-needed` when it is sealed and no key is given
 */
export async function readDocument<T extends object>(
  options: DocumentReading,
  key: string,
  signal?: AbortSignal,
): Promise<(Stored<T> & { readonly changeId: string }) | undefined> {
  // What is seen while this reads may be newer than what it gets: that is no damage.
  const newest = newestSeen(options, key);
  const object = await options.objects.get(key, withSignal(signal));
  if (object === undefined) {
    if (newest !== undefined) await checkGone(options, key, signal);
    return undefined;
  }
  const { changeId, version, stored: value } = parseDocument(key, object.bytes);
  // Before the witness hears of the version: one that was forged must not make the true ones look old.
  const fields = openFields(options.keys, { key, changeId, version }, value);
  if (version < (newest ?? 0)) {
    const what = `it is version ${String(version)}, and version ${String(newest)} was seen here before`;
    throw unlessPutBack(damaged(key, what));
  }
  takeNote(options, key, version);
  return { value: fields as T, etag: object.etag, changeId, version };
}

/** A document as it is stored: in a store with a key most of its fields are in `sealed`. */
export interface ParsedDocument {
  readonly changeId: string;
  readonly version: number;
  readonly stored: Readonly<Record<string, unknown>>;
}

/**
 * What needs no key.
 * @throws corrupt `object-damaged` when it is not the document that belongs under `key`; unsupported `document-format`
 */
export function parseDocument(key: string, bytes: Buffer): ParsedDocument {
  checkDocument(key, bytes);
  let parsed: Envelope & Record<string, unknown>;
  try {
    parsed = JSON.parse(bytes.toString('utf8')) as Envelope & Record<string, unknown>;
  } catch (error) {
    throw damaged(key, 'it is not JSON', error);
  }
  if (typeof parsed !== 'object' || (parsed as object | null) === null || typeof parsed.format !== 'number')
    throw damaged(key, 'it names no format');
  if (parsed.format !== 1) {
    throw new SgwError(
      'unsupported',
      'document-format',
      `object ${key} has format ${String(parsed.format)}, this sgw knows 1`,
      {
        hint: 'Use a newer sgw.',
        details: { key },
      },
    );
  }
  if (parsed.key !== key) throw damaged(key, `it is the document ${parsed.key}`);
  const { check: _check, format: _format, key: _key, changeId, version, ...stored } = parsed;
  if (!Number.isSafeInteger(version) || version < 1) throw damaged(key, 'it names no version');
  return { changeId, version, stored };
}

/** Documents that are never made anew under the same key, so that their versions only grow. */
const WITNESSED =
  /^(?:keys\/[^/]+|volumes\/[^/]+\/(?:volume|head)|snapshots\/[^/]+\/snapshot|service\/accounts\/[^/]+)\.json$/;

function newestSeen({ witness }: DocumentReading, key: string): number | undefined {
  return WITNESSED.test(key) ? witness?.newest(key) : undefined;
}

function takeNote({ witness }: DocumentReading, key: string, version: number): void {
  if (WITNESSED.test(key)) witness?.saw(key, version);
}

/** The document was seen before. @throws corrupt `object-missing` unless gc has noted that it purged it */
async function checkGone(options: DocumentReading, key: string, signal?: AbortSignal): Promise<void> {
  const { objects, witness } = options;
  if (witness === undefined) return;
  const id = key.split('/')[1] ?? key;
  for await (const list of objects.list(keys.purged, withSignal(signal))) {
    const purged = await readDocument<object>(options, list.key, signal);
    if (purged === undefined || !JSON.stringify(purged.value).includes(id)) continue;
    for (const gone of witness.known()) if (gone.split('/')[1] === id) witness.forget(gone);
    return;
  }
  throw unlessPutBack(missing(key));
}

/** The document's beginning, up to the digits of its checksum; and the digits while that is computed. */
const CHECK_START = Buffer.from('{\n "check": "', 'latin1');
const CHECK_DIGITS = 32;
const NO_CHECK = '0'.repeat(CHECK_DIGITS);

/** BLAKE3-128 of the document with zeroes for the digits of its checksum. */
function checksumOf(bytes: Buffer): string {
  const plain = Buffer.from(bytes);
  plain.write(NO_CHECK, CHECK_START.length, 'latin1');
  return blake3Short(plain).toString('hex');
}

/** Needs no key. @throws corrupt `object-damaged` unless every byte of the document is as it was written */
export function checkDocument(key: string, bytes: Buffer): void {
  const found = bytes.toString('latin1', CHECK_START.length, CHECK_START.length + CHECK_DIGITS);
  if (!bytes.subarray(0, CHECK_START.length).equals(CHECK_START))
    throw damaged(key, 'it does not begin with a checksum');
  if (bytes.length < CHECK_START.length + CHECK_DIGITS || checksumOf(bytes) !== found) {
    throw damaged(key, 'it does not match its checksum');
  }
}

/** Encodes a document with a fresh change id and its checksum. */
function encode(
  options: BlockStoreOptions,
  key: string,
  version: number,
  value: object,
): { body: Buffer; changeId: string } {
  const changeId = options.random.bytes(12).toString('hex');
  const stored = sealFields(
    options.keys,
    options.random,
    { key, changeId, version },
    value,
  ) as ParsedDocument['stored'];
  return { body: documentBytes(key, { changeId, version, stored }), changeId };
}

/** The bytes of a document. */
export function documentBytes(key: string, { changeId, version, stored }: ParsedDocument): Buffer {
  const text = JSON.stringify({ check: NO_CHECK, format: 1, key, changeId, version, ...stored }, undefined, 1);
  const body = Buffer.from(`${text}\n`, 'utf8');
  body.write(checksumOf(body), CHECK_START.length, 'latin1');
  return body;
}

/** Creates a document; false when one is there already that is not ours. Durable when it resolves with true. */
export async function createDocument(
  options: BlockStoreOptions,
  key: string,
  value: object,
  signal?: AbortSignal,
): Promise<boolean> {
  const { body, changeId } = encode(options, key, 1, value);
  const result = await options.objects.put(key, body, { condition: { ifAbsent: true }, ...withSignal(signal) });
  if (result.outcome === 'stored') {
    takeNote(options, key, 1);
    return true;
  }
  return (await readDocument(options, key, signal))?.changeId === changeId;
}

/**
 * Replaces a document that is at version `now`. Durable when it resolves with `stored`; `lost` says that somebody else
 * changed it first.
 */
export async function replaceDocument(
  options: BlockStoreOptions,
  key: string,
  now: DocumentVersion,
  value: object,
  signal?: AbortSignal,
): Promise<({ outcome: 'stored' } & DocumentVersion) | { outcome: 'lost' }> {
  const version = now.version + 1;
  const { body, changeId } = encode(options, key, version, value);
  const result = await options.objects.put(key, body, { condition: { ifMatch: now.etag }, ...withSignal(signal) });
  if (result.outcome === 'stored') {
    takeNote(options, key, version);
    return { ...result, version };
  }
  const there = await readDocument(options, key, signal);
  return there?.changeId === changeId ? { outcome: 'stored', etag: there.etag, version } : { outcome: 'lost' };
}

/**
 * Changes a document by compare-and-set, again and again until nobody interferes. `change` may throw to stop.
 * @throws notFound when there is none, whatever `change` throws, unavailable `document-contended`
 */
export async function changeDocument<T extends object>(
  options: BlockStoreOptions,
  key: string,
  change: (value: T) => T | Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const now = await readDocument<T>(options, key, signal);
    if (now === undefined)
      throw new SgwError('notFound', 'document-not-found', `there is no object ${key}`, { details: { key } });
    const next = await change(now.value);
    if (next === now.value) return next;
    const result = await replaceDocument(options, key, now, next, signal);
    if (result.outcome === 'stored') return next;
    await options.clock.sleep(options.random.float() * Math.min(100, 2 ** attempt), signal);
  }
  throw new SgwError('unavailable', 'document-contended', `object ${key} is changed by others all the time`, {
    hint: 'Try again.',
    details: { key },
  });
}
