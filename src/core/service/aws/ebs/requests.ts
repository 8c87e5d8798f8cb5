/**
 * What requests of the EBS direct API say, checked once: the limits are those of the published model (botocore's
 * `ebs/2019-11-02/service-2.json`).
 */
import type { IncomingHttpHeaders } from 'node:http';
import Type, { type Static } from 'typebox';
import { Compile } from 'typebox/compile';
import { API_BLOCK_BYTES } from '../../../blockstore/index.ts';
import { parseShallowJson } from '../../../kit/index.ts';
import type { UploadClaim } from '../../../blockstore/uploads/index.ts';
import type { PageWish } from '../../blocks/snapshot-blocks.ts';
import { badParameter, invalid } from '../../blocks/refusals.ts';

/** 64 TiB. */
const VOLUME_GIB_MAX = 65_536;
const TAGS_MAX = 50;
const BLOCK_INDEX_MAX = 0x7fff_ffff;
const RESULTS = { min: 100, max: 10_000 } as const;
const TOKEN = /^[A-Za-z0-9+/=]{1,256}$/;

const StartSnapshot = Type.Object({
  VolumeSize: Type.Integer(),
  ParentSnapshotId: Type.Optional(Type.String()),
  Tags: Type.Optional(
    Type.Array(
      Type.Object({
        Key: Type.Optional(Type.String()),
        Value: Type.Optional(Type.Union([Type.String(), Type.Null()])),
      }),
    ),
  ),
  Description: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
  ClientToken: Type.Optional(Type.String({ pattern: '^\\S{1,255}$' })),
  Encrypted: Type.Optional(Type.Boolean()),
  KmsKeyArn: Type.Optional(Type.String({ minLength: 1, maxLength: 2048 })),
  Timeout: Type.Optional(Type.Integer({ minimum: 10, maximum: 4320 })),
});
const startSnapshot = Compile(StartSnapshot);

export interface StartRequest {
  readonly sizeGib: number;
  readonly parentId: string | null;
  readonly tags: Readonly<Record<string, string>>;
  readonly description: string;
  readonly clientToken: string | null;
  readonly timeoutMinutes: number;
}

/** @throws invalid `bad-parameter`, `bad-volume-size`, `bad-tag`, `bad-snapshot-id` */
export function startRequestOf(body: Buffer): StartRequest {
  const input = parsed(body);
  const { VolumeSize: sizeGib, ParentSnapshotId, Description, ClientToken, Timeout, Encrypted, KmsKeyArn } = input;
  if (sizeGib < 1 || sizeGib > VOLUME_GIB_MAX)
    throw invalid(
      'bad-volume-size',
      `a volume of ${String(sizeGib)} GiB is not possible: 1 to ${String(VOLUME_GIB_MAX)} are`,
    );
  if (ParentSnapshotId !== undefined && (Encrypted !== undefined || KmsKeyArn !== undefined))
    throw badParameter('a snapshot with a parent is encrypted as that is: leave Encrypted and KmsKeyArn out');
  if (Encrypted === true || KmsKeyArn !== undefined)
    throw badParameter('this service has no keys that encrypt single snapshots');
  return {
    sizeGib,
    parentId: ParentSnapshotId === undefined ? null : snapshotIdOf(ParentSnapshotId),
    tags: tagsOf(input.Tags ?? []),
    description: Description ?? '',
    clientToken: ClientToken ?? null,
    timeoutMinutes: Timeout ?? 60,
  };
}

function parsed(body: Buffer): Static<typeof StartSnapshot> {
  let input: unknown;
  try {
    input = parseShallowJson(body.toString('utf8'));
  } catch {
    throw badParameter('the request is not JSON');
  }
  if (startSnapshot.Check(input)) return input;
  const [first] = startSnapshot.Errors(input);
  const field = first?.instancePath.split('/')[1] ?? '';
  throw badParameter(`the request is not one to start a snapshot: ${field} ${first?.message ?? ''}`.trimEnd());
}

function tagsOf(tags: NonNullable<Static<typeof StartSnapshot>['Tags']>): Record<string, string> {
  if (tags.length > TAGS_MAX) throw invalid('bad-tag', `a snapshot has ${String(TAGS_MAX)} tags at most`);
  const entries = tags.map(({ Key = '', Value }) => [Key, Value ?? ''] as const);
  for (const [key, value] of entries) {
    if (key === '' || key.length > 127 || value.length > 255)
      throw invalid('bad-tag', 'a tag has a key of 1 to 127 characters and a value of at most 255');
  }
  const named = Object.fromEntries(entries);
  if (Object.keys(named).length !== entries.length) throw invalid('bad-tag', 'two tags have one key');
  return named;
}

/** @throws invalid `bad-snapshot-id` */
export function snapshotIdOf(text: string): string {
  if (text.length <= 64 && /^snap-[0-9a-f]+$/.test(text)) return text;
  throw invalid('bad-snapshot-id', `"${text.slice(0, 64)}" is no id of a snapshot`);
}

/** @throws invalid `block-out-of-range` */
export function blockIndexOf(text: string): number {
  const block = /^\d{1,10}$/.test(text) ? Number(text) : -1;
  if (block >= 0 && block <= BLOCK_INDEX_MAX) return block;
  throw invalid('block-out-of-range', `"${text.slice(0, 32)}" is no index of a block`);
}

type Query = Readonly<Record<string, string | readonly string[] | undefined>>;

/** @throws invalid `bad-parameter` when it is there twice */
function single(query: Query, name: string): string | undefined {
  const value = query[name];
  if (value === undefined || typeof value === 'string') return value;
  throw badParameter(`${name} is there twice`);
}

/** @throws invalid `bad-parameter`; denied `block-token-wrong` when there can be no such token */
export function blockTokenOf(query: Query): string {
  const token = single(query, 'blockToken');
  if (token === undefined) throw badParameter('blockToken is missing');
  if (!TOKEN.test(token)) throw invalid('block-token-wrong', 'the block token is none');
  return token;
}

export function firstSnapshotOf(query: Query): string | null {
  const id = single(query, 'firstSnapshotId');
  return id === undefined ? null : snapshotIdOf(id);
}

/** @throws invalid `bad-parameter`, `page-token-wrong` */
export function pageWishOf(query: Query): PageWish {
  const pageToken = single(query, 'pageToken') ?? null;
  const maxResults = single(query, 'maxResults');
  const starting = single(query, 'startingBlockIndex');
  if (pageToken !== null && !TOKEN.test(pageToken)) throw invalid('page-token-wrong', 'the page token is none');
  const max = maxResults === undefined ? RESULTS.max : /^\d{1,6}$/.test(maxResults) ? Number(maxResults) : -1;
  if (max < RESULTS.min || max > RESULTS.max)
    throw badParameter(`maxResults is from ${String(RESULTS.min)} to ${String(RESULTS.max)}`);
  return { pageToken, max, fromBlock: starting === undefined ? 0 : blockIndexOf(starting) };
}

/** The one value of a header; undefined where it did not come. */
function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value.trim() : undefined;
}

function numberIn(headers: IncomingHttpHeaders, name: string): number | undefined {
  const text = header(headers, name);
  if (text === undefined) return undefined;
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (value <= BLOCK_INDEX_MAX) return value;
  throw badParameter(`${name} is no number`);
}

/** SHA-256 as hex. */
function sha256In(headers: IncomingHttpHeaders): string | undefined {
  const text = header(headers, 'x-amz-checksum');
  const algorithm = header(headers, 'x-amz-checksum-algorithm');
  if (algorithm !== undefined && algorithm !== 'SHA256') throw badParameter('the checksum algorithm is SHA256');
  if (text === undefined) return undefined;
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length !== 32 || bytes.toString('base64') !== text)
    throw badParameter('the checksum is not the base64 of a SHA-256');
  if (algorithm === undefined) throw badParameter('x-amz-Checksum-Algorithm is missing');
  return bytes.toString('hex');
}

/** What a block that is put is to be: SHA-256 in hex. @throws invalid `bad-parameter`, `bad-content-encoding` */
export function putRequestOf(headers: IncomingHttpHeaders): { readonly sha256: string } {
  const length = numberIn(headers, 'x-amz-data-length');
  if (length === undefined) throw badParameter('x-amz-Data-Length is missing');
  if (length !== API_BLOCK_BYTES) throw badParameter(`a block has ${String(API_BLOCK_BYTES)} bytes`);
  if ((numberIn(headers, 'x-amz-progress') ?? 0) > 100) throw badParameter('x-amz-Progress is from 0 to 100');
  const encoding = header(headers, 'content-encoding');
  if (encoding !== undefined && encoding !== 'identity')
    throw invalid('bad-content-encoding', 'a block is sent as it is');
  const sha256 = sha256In(headers);
  if (sha256 === undefined) throw badParameter('x-amz-Checksum is missing');
  return { sha256 };
}

/** @throws invalid `bad-parameter` */
export function claimOf(headers: IncomingHttpHeaders): UploadClaim {
  const blocks = numberIn(headers, 'x-amz-changedblockscount');
  if (blocks === undefined) throw badParameter('x-amz-ChangedBlocksCount is missing');
  const method = header(headers, 'x-amz-checksum-aggregation-method');
  if (method !== undefined && method !== 'LINEAR') throw badParameter('the checksum aggregation method is LINEAR');
  const checksum = sha256In(headers) ?? null;
  if (checksum !== null && method === undefined) throw badParameter('x-amz-Checksum-Aggregation-Method is missing');
  return { blocks, checksum };
}
