/**
 * The operations of the block API: one row each. The service makes its routes of them, scripts/openapi.ts their description.
 */
import type { TSchema } from 'typebox';
import {
  BlockList,
  BlocksQuery,
  ChangesQuery,
  Deleted,
  NewSnapshot,
  NewVolume,
  NoQuery,
  PageQuery,
  Snapshot,
  SnapshotList,
  SnapshotsQuery,
  Volume,
  VolumeList,
} from './documents.ts';

export interface BlockApiOperation {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Parameters in braces: `volumeId`, `snapshotId`, `block`. */
  readonly path: string;
  readonly summary: string;
  readonly query: TSchema;
  /** A document, the bytes of a block, or nothing. */
  readonly request: TSchema | 'block' | null;
  readonly answer: TSchema | 'block' | null;
  readonly status: 200 | 201 | 204;
}

export const BLOCK_API = {
  createVolume: {
    ...{ method: 'POST', path: '/v1/volumes', query: NoQuery, request: NewVolume, answer: Volume, status: 201 },
    summary: 'Creates a volume: of zeroes, or of what a snapshot shows. Durable when it is answered.',
  },
  listVolumes: {
    ...{ method: 'GET', path: '/v1/volumes', query: PageQuery, request: null, answer: VolumeList, status: 200 },
    summary: "Lists the account's volumes in the order of their ids.",
  },
  showVolume: {
    ...{ method: 'GET', path: '/v1/volumes/{volumeId}', query: NoQuery, request: null, answer: Volume, status: 200 },
    summary: 'Shows a volume.',
  },
  deleteVolume: {
    ...{ method: 'DELETE', path: '/v1/volumes/{volumeId}', query: NoQuery, request: null, answer: Deleted },
    ...{ status: 200, summary: 'Deletes a volume, for good. Its snapshots stay.' },
  },
  listVolumeBlocks: {
    ...{ method: 'GET', path: '/v1/volumes/{volumeId}/blocks', query: BlocksQuery, request: null, answer: BlockList },
    ...{ status: 200, summary: 'Lists the blocks of a volume in which something was written.' },
  },
  putBlock: {
    ...{ method: 'PUT', path: '/v1/volumes/{volumeId}/blocks/{block}', query: NoQuery, request: 'block', answer: null },
    ...{ status: 204, summary: 'Writes a block. Durable when it is answered.' },
  },
  getBlock: {
    ...{ method: 'GET', path: '/v1/volumes/{volumeId}/blocks/{block}', query: NoQuery, request: null, answer: 'block' },
    ...{ status: 200, summary: 'Reads a block as it was written last; zeroes where nothing was.' },
  },
  createSnapshot: {
    ...{ method: 'POST', path: '/v1/volumes/{volumeId}/snapshots', query: NoQuery, request: NewSnapshot },
    ...{ answer: Snapshot, status: 201 },
    summary:
      'Makes a snapshot of what was written until now. Mostly completed when it is answered; else it will be, and showing it tells.',
  },
  listSnapshots: {
    ...{ method: 'GET', path: '/v1/snapshots', query: SnapshotsQuery, request: null, answer: SnapshotList },
    ...{ status: 200, summary: "Lists the account's snapshots in the order of their ids, those of gateways too." },
  },
  showSnapshot: {
    ...{ method: 'GET', path: '/v1/snapshots/{snapshotId}', query: NoQuery, request: null, answer: Snapshot },
    ...{ status: 200, summary: "Shows a snapshot: the account's own, or one that is shared with it." },
  },
  deleteSnapshot: {
    ...{ method: 'DELETE', path: '/v1/snapshots/{snapshotId}', query: NoQuery, request: null, answer: Deleted },
    ...{ status: 200, summary: 'Deletes a snapshot. Volumes and snapshots that were made of it stay.' },
  },
  listSnapshotBlocks: {
    ...{ method: 'GET', path: '/v1/snapshots/{snapshotId}/blocks', query: BlocksQuery, request: null },
    ...{ answer: BlockList, status: 200, summary: 'Lists the blocks of a snapshot in which something is written.' },
  },
  listChangedBlocks: {
    ...{ method: 'GET', path: '/v1/snapshots/{snapshotId}/changes', query: ChangesQuery, request: null },
    ...{ answer: BlockList, status: 200, summary: 'Lists the blocks that differ from those of an earlier snapshot.' },
  },
  getSnapshotBlock: {
    ...{ method: 'GET', path: '/v1/snapshots/{snapshotId}/blocks/{block}', query: NoQuery, request: null },
    ...{ answer: 'block', status: 200, summary: 'Reads a block of a snapshot.' },
  },
} as const satisfies Readonly<Record<string, BlockApiOperation>>;

export type BlockApiName = keyof typeof BLOCK_API;
