/**
 * A bucket of a simulated S3 server: what it holds, and what it says to a request at the moment at which that takes effect.
 * Etags are the MD5 of the bytes, as of most servers: the same bytes have the same one again.
 */
import type {
  DeleteObjectCommandInput,
  GetObjectCommandInput,
  ListObjectsV2CommandInput,
  PutObjectCommandInput,
} from '@aws-sdk/client-s3';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { StoreChange } from '../observed-store.ts';
import type { Choices } from '../random.ts';
import { answers } from './answers.ts';
import type { Server } from './servers.ts';

interface Version {
  readonly bytes: Buffer;
  readonly etag: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** What is under a key, and what was before. */
interface Slot {
  now: Version | undefined;
  before: Version | undefined;
  changedAtMs: number;
}

export interface BucketParts {
  readonly server: Server;
  readonly nowMs: () => number;
  readonly observe: (change: StoreChange) => void;
  /** Which replica answers, where they differ. */
  readonly choices: Choices;
}

export type Condition = Pick<PutObjectCommandInput, 'IfMatch' | 'IfNoneMatch'>;

export const isConditional = ({ IfMatch, IfNoneMatch }: Condition): boolean =>
  IfMatch !== undefined || IfNoneMatch !== undefined;

export class Bucket {
  readonly server: Server;
  readonly #parts: BucketParts;
  readonly #slots = new Map<string, Slot>();

  constructor(parts: BucketParts) {
    this.#parts = parts;
    this.server = parts.server;
  }

  /** @throws what the server answers when the condition does not hold */
  check(key: string, { IfMatch, IfNoneMatch }: Condition): void {
    const { conditions, bareEtags, replacesAbsent = false, absentIs404 = false } = this.server;
    if (IfMatch === undefined && IfNoneMatch === undefined) return;
    if (conditions === 'refused') throw answers.notImplemented();
    if (conditions === 'ignored') return;
    const now = this.#slots.get(key)?.now;
    if (IfNoneMatch !== undefined && now !== undefined) throw answers.preconditionFailed();
    if (IfMatch === undefined) return;
    if (now === undefined) {
      if (replacesAbsent) return;
      throw absentIs404 ? answers.noSuchKey() : answers.preconditionFailed();
    }
    const wanted = bareEtags ? IfMatch : IfMatch.replaceAll('"', '');
    if (wanted !== now.etag) throw answers.preconditionFailed();
  }

  /** Checks the condition and stores, in one. */
  put(input: PutObjectCommandInput): { ETag: string } {
    this.check(input.Key ?? '', input);
    return this.store(input);
  }

  store({ Key: key = '', Body, Metadata = {} }: PutObjectCommandInput): { ETag: string } {
    const bytes = Buffer.from(Body as Uint8Array);
    const etag = createHash('md5').update(bytes).digest('hex');
    this.#change(key, { bytes, etag, metadata: this.server.keepsMetadata === false ? {} : Metadata });
    this.#parts.observe({ put: key, bytes, etag });
    return { ETag: `"${etag}"` };
  }

  remove({ Key: key = '', IfMatch }: DeleteObjectCommandInput): object {
    const now = this.#slots.get(key)?.now;
    if (IfMatch !== undefined && this.server.conditionalRemovals && now !== undefined) {
      if (IfMatch.replaceAll('"', '') !== now.etag) throw answers.preconditionFailed();
    }
    if (now === undefined) return {};
    this.#change(key, undefined);
    this.#parts.observe({ deleted: key });
    return {};
  }

  #change(key: string, version: Version | undefined): void {
    const slot = this.#slots.get(key);
    const changedAtMs = this.#parts.nowMs();
    if (slot === undefined) this.#slots.set(key, { now: version, before: undefined, changedAtMs });
    else Object.assign(slot, { before: slot.now, now: version, changedAtMs });
  }

  /** What a replica has: all that is older than what it lags behind. */
  #seen(key: string, truly: boolean): Version | undefined {
    const slot = this.#slots.get(key);
    const { lagMsMax = 0 } = this.server;
    if (slot === undefined || truly || lagMsMax === 0) return slot?.now;
    const lagMs = this.#parts.choices.random.float() * lagMsMax;
    return this.#parts.nowMs() - slot.changedAtMs < lagMs ? slot.before : slot.now;
  }

  get({ Key: key = '', Range }: GetObjectCommandInput, truly: boolean): object {
    const version = this.#seen(key, truly);
    if (version === undefined) throw answers.noSuchKey();
    const { bytes } = version;
    const span = spanOf(Range, bytes.length);
    if (span === undefined) throw answers.badRange();
    const part = Buffer.from(bytes.subarray(span.from, span.to));
    return {
      ...this.#told(version),
      ContentLength: part.length,
      Body: Readable.from(part.length === 0 ? [] : [part]),
      ...(Range === undefined ? {} : { ContentRange: `bytes ${span.from}-${span.to - 1}/${bytes.length}` }),
    };
  }

  head(key: string, truly: boolean): object {
    const version = this.#seen(key, truly);
    if (version === undefined) throw answers.notFound();
    return { ...this.#told(version), ContentLength: version.bytes.length };
  }

  #told({ etag, metadata }: Version): { readonly ETag: string; readonly Metadata: Readonly<Record<string, string>> } {
    return { ETag: `"${etag}"`, Metadata: metadata };
  }

  list(input: ListObjectsV2CommandInput, truly: boolean): object {
    const { Prefix = '', StartAfter = '', Delimiter, ContinuationToken = '', MaxKeys = 1000 } = input;
    const Contents: object[] = [];
    const CommonPrefixes: { Prefix: string }[] = [];
    let last = '';
    for (const key of [...this.#slots.keys()].sort()) {
      if (!key.startsWith(Prefix) || key <= StartAfter) continue;
      const version = this.#seen(key, truly);
      if (version === undefined) continue;
      const end = Delimiter === undefined ? -1 : key.indexOf(Delimiter, Prefix.length);
      const name = end < 0 ? key : key.slice(0, end + 1);
      if (name <= ContinuationToken || name === last) continue;
      if (Contents.length + CommonPrefixes.length === MaxKeys)
        return { Contents, CommonPrefixes, IsTruncated: true, NextContinuationToken: last };
      last = name;
      if (end < 0) Contents.push({ Key: key, Size: version.bytes.length, ETag: `"${version.etag}"` });
      else CommonPrefixes.push({ Prefix: name });
    }
    return { Contents, CommonPrefixes, IsTruncated: false };
  }
}

function spanOf(
  range: string | undefined,
  sizeBytes: number,
): { readonly from: number; readonly to: number } | undefined {
  if (range === undefined) return { from: 0, to: sizeBytes };
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(range) ?? [];
  const from = first === '' ? Math.max(0, sizeBytes - Number(last)) : Number(first);
  const to = first === '' || last === '' ? sizeBytes : Math.min(sizeBytes, Number(last) + 1);
  return from < to ? { from, to } : undefined;
}
