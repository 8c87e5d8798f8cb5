/**
 * Opens a cached volume: the next epoch in the store, the local log held against what the store has of it (C4), a new
 * incarnation of the log, and the uploader that goes on where the last one ended.
 */
import {
  DEFAULT_RECOVERY_POLICY,
  openVolumeView,
  openVolumeWriter,
  type BlockStoreOptions,
  type FramePool,
  type HeadCondition,
  type Holder,
  type VolumeWriter,
} from '../blockstore/index.ts';
import type { FrameCache } from '../cache/index.ts';
import { SgwError, toSgwError, type VolumeId } from '../kit/index.ts';
import { findLog, openLog, type FoundLog, type LogDisk, type WriteLog } from '../writelog/index.ts';
import { leftBarriers, type LeftBarriers } from './barriers.ts';
import type { VolumeSettings } from './contract.ts';
import { checkAck, Members, type GroupParts } from './members.ts';
import { positionOf, recordsIn, uploadedAtLeast } from './log-position.ts';

/** Log whose headers are read at a time. */
const SLICE_BYTES = 4 << 20;

/** Codes of openings that fail because somebody else has the volume. */
const TAKEN_CODES: ReadonlySet<string> = new Set(['volume-held', 'volume-in-group']);

export interface CachedVolumeParts extends GroupParts {
  readonly blocks: BlockStoreOptions;
  readonly volumeId: VolumeId;
  readonly holder: Holder;
  /** The account whose data is written (C17). */
  readonly accountId: string;
  /** Holds the write log. */
  readonly disk: LogDisk;
  /** Shared by the volumes of a gateway; stays the caller's to close. */
  readonly cache: FrameCache;
  /** Encodes what is uploaded; stays the caller's to close. */
  readonly pool: FramePool;
  /** Decodes what is read; `pool` when absent. Stays the caller's to close. */
  readonly decoders?: FramePool;
  readonly settings: VolumeSettings;
  readonly takeOver?: boolean;
  /** Takes it over from another member of the group, if the head allows that. */
  readonly condition?: HeadCondition;
  readonly signal?: AbortSignal;
  /**
   * Before the log is touched: whether the newest data of the volume in the store is of this log, or was there when one of its
   * incarnations began. Otherwise somebody else has written to the volume.
   */
  readonly beforeLog?: (isOurs: boolean) => Promise<void>;
  readonly onEvent?: (event: VolumeEvent) => void;
}

/** What people who look after a gateway want to read. */
export type VolumeEvent =
  | { readonly kind: 'replayed'; readonly records: number }
  | { readonly kind: 'setAside'; readonly path: string; readonly lostRecords: number }
  | { readonly kind: 'damaged'; readonly reason: string }
  | { readonly kind: 'trouble'; readonly error: SgwError }
  | { readonly kind: 'recovered' }
  /** Something is the matter with the image of a shadowing volume. */
  | { readonly kind: 'remark'; readonly text: string }
  | { readonly kind: 'failed'; readonly error: SgwError };

export interface Opened {
  readonly writer: VolumeWriter;
  readonly log: WriteLog;
  /** Records up to here are in the store. */
  readonly uploadedSequence: number;
  /** The incarnations of the log, this one included. */
  readonly incarnations: FoundLog['incarnations'];
  readonly left: LeftBarriers;
  /** The other members of its group; undefined outside one. */
  readonly members: Members | undefined;
  /** What the log lost; null when nothing. */
  readonly damage: string | null;
}

/**
 * `mayBeDamaged`: what is lost with a damaged log is had from elsewhere, or shown by serving what is left read-only. Otherwise the head
 * stays as it is.
 * @throws conflict `volume-held`, `volume-in-group`, `not-in-sync`, `ack-needs-group`; notFound; unavailable; corrupt
 */
export async function openParts(
  parts: CachedVolumeParts,
  { mayBeDamaged = parts.condition === undefined }: { readonly mayBeDamaged?: boolean } = {},
): Promise<Opened> {
  const { disk, blocks, settings, onEvent } = parts;
  checkAck(settings.ack, parts.sink !== undefined);
  let found = await findLog(disk);
  if (found.damage !== null && !mayBeDamaged) found = await withoutDamage(parts, found, found.damage);
  const writer = await openWriter(parts, howOf(parts), parts.signal);
  try {
    const store = storePosition(writer);
    await parts.beforeLog?.(store.dataSeq === 0 || recordsIn(found.incarnations, store) !== undefined);
    const position = positionOf(found, store);
    let { uploadedSequence } = position;
    if (position.kind === 'overtaken') {
      const path = await disk.setAside('overtaken');
      onEvent?.({ kind: 'setAside', path, lostRecords: position.lostRecords });
      found = await findLog(disk);
      uploadedSequence = 0;
    }
    const names = found.incarnations.map((one) => one.incarnation);
    const left = await leftBarriers(blocks, parts.volumeId, names, parts.signal);
    const incarnation = blocks.random.bytes(8).toString('hex');
    const log = await openLog({
      disk,
      found,
      capacityBytes: settings.bufferBytes,
      clock: blocks.clock,
      incarnation: { incarnation, epoch: writer.epoch, baseSeq: writer.logPosition.dataSeq, uploadedSequence },
    });
    const records = found.lastSequence - uploadedSequence;
    if (records > 0) onEvent?.({ kind: 'replayed', records });
    if (log.damage !== null) onEvent?.({ kind: 'damaged', reason: log.damage });
    const incarnations = log.incarnation === null ? found.incarnations : [...found.incarnations, log.incarnation];
    const members = log.damage === null ? membersOf(parts, writer, log) : undefined;
    return { writer, log, uploadedSequence, incarnations, left, members, damage: log.damage };
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

/**
 * A member with a damaged log would be the only one in the in-sync set, and the others, which have everything, could not take over:
 * they go first, unless the operator has this one go on with what the store has.
 * @returns the log to open
 * @throws corrupt `log-damaged`
 */
async function withoutDamage(parts: CachedVolumeParts, found: FoundLog, damage: string): Promise<FoundLog> {
  const { blocks, volumeId, disk, condition, signal, onEvent } = parts;
  const view = await openVolumeView(blocks, volumeId, signal === undefined ? {} : { signal });
  const { kind, uploadedSequence } = positionOf(found, storePosition({ logPosition: view.position }));
  // It is set aside anyway, or what is damaged the store has.
  if (kind === 'overtaken' || (await findLog(disk, { uploadedSequence })).damage === null) return found;
  if (condition?.acceptLoss !== true) throw damagedInGroup(volumeId, damage);
  const lostRecords = Math.max(0, found.lastSequence - Math.max(uploadedSequence, uploadedAtLeast(found.incarnations)));
  onEvent?.({ kind: 'setAside', path: await disk.setAside('damaged'), lostRecords });
  return await findLog(disk);
}

function membersOf({ sink, onWriter }: CachedVolumeParts, writer: VolumeWriter, log: WriteLog): Members | undefined {
  onWriter?.(writer);
  return sink === undefined ? undefined : new Members(sink, log);
}

const howOf = ({ takeOver = false, condition }: CachedVolumeParts): Parameters<typeof openWriter>[1] =>
  condition === undefined ? { takeOver } : { condition };

const openWriter = async (
  { blocks, volumeId, holder, accountId, settings }: CachedVolumeParts,
  how: { readonly takeOver?: boolean; readonly condition?: HeadCondition },
  signal?: AbortSignal,
): Promise<VolumeWriter> =>
  await openVolumeWriter(blocks, volumeId, {
    holder,
    accountId,
    ...how,
    recovery: settings.recovery ?? DEFAULT_RECOVERY_POLICY,
    ...(signal === undefined ? {} : { signal }),
  });

const storePosition = ({
  logPosition: { dataSeq, records },
}: Pick<VolumeWriter, 'logPosition'>): Parameters<typeof positionOf>[1] => ({
  dataSeq,
  records: records === null ? null : { incarnation: records.incarnation, last: records.last },
});

/**
 * Opens the writer anew while the volume is being served.
 * @throws fenced when another gateway holds the volume, or has written to it
 */
export async function reopenWriter(
  parts: CachedVolumeParts,
  opened: Pick<Opened, 'incarnations' | 'log'>,
  signal: AbortSignal,
): Promise<{ readonly writer: VolumeWriter; readonly uploadedSequence: number }> {
  let writer: VolumeWriter;
  try {
    writer = await openWriter(parts, {}, signal);
  } catch (error) {
    const failure = toSgwError(error);
    throw TAKEN_CODES.has(failure.code) ? takenOver(parts.volumeId, failure) : failure;
  }
  const { incarnations, log } = opened;
  const position = positionOf({ incarnations, lastSequence: log.usage.lastSequence }, storePosition(writer));
  if (position.kind === 'continues') return { writer, uploadedSequence: position.uploadedSequence };
  await writer.close();
  throw takenOver(parts.volumeId, undefined);
}

function takenOver(volumeId: VolumeId, cause: SgwError | undefined): SgwError {
  return new SgwError(
    'fenced',
    'fenced',
    `volume ${volumeId} was taken over: ${cause?.message ?? 'another gateway has written to it'}`,
    {
      hint: 'What was not uploaded is kept in its write log here: `sgw doctor` says what is in it.',
      details: { volumeId, ...cause?.details },
      ...(cause === undefined ? {} : { cause }),
    },
  );
}

/** The size after the last resize that is not uploaded yet; undefined when there is none. */
export function lastSizeOf(log: WriteLog, uploadedSequence: number): number | undefined {
  let sizeBytes: number | undefined;
  for (let next = uploadedSequence + 1; ;) {
    const records = log.records(next, SLICE_BYTES);
    if (records.length === 0) return sizeBytes;
    for (const { extents } of records)
      for (const extent of extents) if (extent.kind === 'resize') ({ sizeBytes } = extent);
    next += records.length;
  }
}

/** What was acknowledged is in the log, and an opening takes it up from there. */
export function bugMet(volumeId: VolumeId, cause: SgwError): SgwError {
  return new SgwError(
    'internal',
    cause.code,
    `uploading volume ${volumeId} met an error of this program: ${cause.message}`,
    {
      hint: `Nothing that was acknowledged is lost: it is in the write log. Attach the volume again, and it goes on from there: sgw volume attach ${volumeId}. Please report it.`,
      details: { ...cause.details, volumeId },
      cause,
    },
  );
}

/** Why a member of a group does not serve a volume. */
const damagedInGroup = (volumeId: VolumeId, damage: string): SgwError =>
  new SgwError('corrupt', 'log-damaged', `the write log of volume ${volumeId} is damaged: ${damage}`, {
    hint: 'A member of its group that has everything takes it over. Where there is none, `sgw group failover VOLUME --accept-loss` goes on with what the store has, and sets the log aside.',
    details: { volumeId },
  });

/** Why a volume with a damaged log is read-only. */
export function damagedLog(volumeId: VolumeId, damage: string): SgwError {
  return new SgwError('corrupt', 'log-damaged', `the write log of volume ${volumeId} is damaged: ${damage}`, {
    hint: 'The volume is served read-only. `sgw doctor` says what is lost and how to go on.',
    details: { volumeId },
  });
}
