/**
 * What the block API takes and answers (docs/BLOCK_API.md), as JSON Schemas: requests are checked against them, the client's
 * types are theirs, and docs/openapi.json is written from them. Sizes are in bytes, blocks are counted in 512 KiB from 0.
 */
import Type, { type Static } from 'typebox';

/** Of a block. */
export const BLOCK_API_BYTES = 512 * 1024;
/** Of a page of a list. */
export const PAGE_MAX = { documents: 1000, blocks: 10_000 } as const;

const Time = Type.String({ format: 'date-time', description: 'RFC 3339, UTC' });
export const VolumeIdText = Type.String({ pattern: '^vol-[0-9a-f]{17}$' });
export const SnapshotIdText = Type.String({ pattern: '^snap-[0-9a-f]{17}$' });
const AccountId = Type.String({ pattern: '^[0-9]{12}$' });
const Name = Type.String({ minLength: 1, maxLength: 128 });
const Description = Type.String({ maxLength: 255 });
const Tags = Type.Record(Type.String({ pattern: '^[^\\u0000-\\u001f]{1,127}$' }), Type.String({ maxLength: 255 }), {
  maxProperties: 50,
});
const ClientToken = Type.String({
  pattern: '^[!-~]{1,128}$',
  description: 'The same token with the same request again is answered as the first time, and does nothing more.',
});
const SizeBytes = Type.Integer({ minimum: BLOCK_API_BYTES, multipleOf: BLOCK_API_BYTES });
const NextToken = Type.Union([Type.String(), Type.Null()], {
  description: 'For the next page; null on the last. A page may hold fewer than were asked for.',
});

const closed = { additionalProperties: false } as const;

export const NewVolume = Type.Object(
  {
    name: Name,
    sizeBytes: Type.Optional(SizeBytes),
    fromSnapshotId: Type.Optional(SnapshotIdText),
    description: Type.Optional(Description),
    tags: Type.Optional(Tags),
    clientToken: Type.Optional(ClientToken),
  },
  { ...closed, $id: 'NewVolume' },
);

export const Volume = Type.Object(
  {
    volumeId: VolumeIdText,
    name: Name,
    accountId: AccountId,
    sizeBytes: Type.Integer(),
    blockBytes: Type.Integer(),
    fromSnapshotId: Type.Union([SnapshotIdText, Type.Null()]),
    description: Description,
    tags: Tags,
    createdAt: Time,
  },
  { $id: 'Volume' },
);

export const VolumeList = Type.Object({ volumes: Type.Array(Volume), nextToken: NextToken }, { $id: 'VolumeList' });

export const NewSnapshot = Type.Object(
  {
    name: Type.Optional(Name),
    description: Type.Optional(Description),
    tags: Type.Optional(Tags),
    clientToken: Type.Optional(ClientToken),
  },
  { ...closed, $id: 'NewSnapshot' },
);

export const Snapshot = Type.Object(
  {
    snapshotId: SnapshotIdText,
    name: Type.String(),
    state: Type.Union([Type.Literal('pending'), Type.Literal('completed'), Type.Literal('failed')]),
    reason: Type.Union([Type.String(), Type.Null()], { description: 'Why it failed.' }),
    volumeId: VolumeIdText,
    volumeName: Type.String(),
    accountId: AccountId,
    sizeBytes: Type.Integer(),
    blockBytes: Type.Integer(),
    description: Type.String(),
    tags: Type.Record(Type.String(), Type.String()),
    readable: Type.Boolean({ description: 'Whether export control lets the account read it now.' }),
    createdAt: Time,
    completedAt: Type.Union([Time, Type.Null()]),
  },
  { $id: 'Snapshot' },
);

export const SnapshotList = Type.Object(
  { snapshots: Type.Array(Snapshot), nextToken: NextToken },
  { $id: 'SnapshotList' },
);

export const BlockList = Type.Object(
  {
    blocks: Type.Array(Type.Integer({ minimum: 0 }), { description: 'Ascending.' }),
    sizeBytes: Type.Integer(),
    blockBytes: Type.Integer(),
    nextToken: NextToken,
  },
  { $id: 'BlockList' },
);

export const Deleted = Type.Object(
  { id: Type.String(), deleted: Type.Boolean({ description: 'False when it was deleted before.' }) },
  { $id: 'Deleted' },
);

export const Failure = Type.Object(
  {
    error: Type.Object({
      code: Type.String({ description: 'docs/ERRORS.md lists them.' }),
      kind: Type.String({ description: 'What the caller should do.' }),
      message: Type.String(),
      hint: Type.Union([Type.String(), Type.Null()]),
      details: Type.Record(Type.String(), Type.Unknown()),
      retryable: Type.Boolean(),
    }),
  },
  { $id: 'Failure' },
);

const page = (max: number): { maxResults: Type.TOptional<Type.TInteger>; nextToken: Type.TOptional<Type.TString> } => ({
  maxResults: Type.Optional(Type.Integer({ minimum: 1, maximum: max })),
  nextToken: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
});

export const PageQuery = Type.Object(page(PAGE_MAX.documents), closed);
export const SnapshotsQuery = Type.Object(
  { volumeId: Type.Optional(VolumeIdText), ...page(PAGE_MAX.documents) },
  closed,
);
const startBlock = Type.Optional(Type.Integer({ minimum: 0, maximum: 0x7fff_ffff }));
export const BlocksQuery = Type.Object({ startBlock, ...page(PAGE_MAX.blocks) }, closed);
export const ChangesQuery = Type.Object(
  {
    since: Type.Unsafe<string>({ ...SnapshotIdText, description: 'The earlier snapshot, of the same lineage.' }),
    startBlock,
    ...page(PAGE_MAX.blocks),
  },
  closed,
);
export const NoQuery = Type.Object({}, closed);

export type NewVolume = Static<typeof NewVolume>;
export type Volume = Static<typeof Volume>;
export type VolumeList = Static<typeof VolumeList>;
export type NewSnapshot = Static<typeof NewSnapshot>;
export type Snapshot = Static<typeof Snapshot>;
export type SnapshotList = Static<typeof SnapshotList>;
export type BlockList = Static<typeof BlockList>;
export type Deleted = Static<typeof Deleted>;
export type BlocksQuery = Static<typeof BlocksQuery>;
export type ChangesQuery = Static<typeof ChangesQuery>;
export type SnapshotsQuery = Static<typeof SnapshotsQuery>;
export type PageQuery = Static<typeof PageQuery>;
