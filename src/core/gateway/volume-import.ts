/**
 * Importing an image into a volume, new or existing.
 *
 * A new volume is listed as `importing` from the start and becomes `available` when the import has ended; its
 * entry names the image, so that the same command, run again after a failure or a kill, goes on with it.
 * An import into an existing volume notes itself in the entry likewise; the last consistent state stays
 * what snapshots show until the import has ended (C7). The volume's lock is held throughout.
 */
import { resolve } from 'node:path';
import { openVolumeWriter, type SnapshotEntry, type VolumeEntry, type VolumeWriter } from '../blockstore/index.ts';
import { SgwError, type VolumeId } from '../kit/index.ts';
import type { CallContext, DeletedDocument, ImportDocument, Input } from '../localapi/index.ts';
import { importImage, type ImportReport } from '../transfer/index.ts';
import { readVolumeSummary } from './documents.ts';
import { findExisting, sameTags } from './idempotency.ts';
import { inspectSource, openSource, type ImageSource } from './image-source.ts';
import { requireDetached } from './live.ts';
import { resolveVolume } from './references.ts';
import { settleLog } from './serving/local-log.ts';
import { holderOf, millisecondsSince, progressOf, requireCachedMode, timestamp, type Session } from './session.ts';
import { importAgain } from './unfinished-import.ts';

/** What `importVolume` takes beyond the operation's input. */
export interface ImportHooks {
  /** Runs once the contents are committed, before the volume becomes available; a failure leaves it unfinished. */
  readonly beforeAvailable?: (entry: VolumeEntry, report: ImportReport) => Promise<void>;
}

export interface NewFromImage {
  /** Absolute path of the image, whose bytes are taken as they are. */
  readonly path: string;
  /** Of the volume; with a number behind it when it is taken. */
  readonly name: string;
  /** Begins the volume as a clone of this, so that only what differs from it is sent. */
  readonly from: SnapshotEntry | undefined;
}

interface Target {
  readonly volumeId: VolumeId;
  readonly resumed: boolean;
  /** The volume is what was asked for already. */
  readonly done: boolean;
}

const NOTHING: ImportReport = { readBytes: 0, changedBytes: 0, zeroedBytes: 0, storedBytes: 0, committed: false };

/**
 * Makes a volume read as the image does. Durable in the store when it resolves.
 * @throws conflict `volume-exists`, `import-unfinished`, `image-changed`, `volume-held`; invalid `image-smaller`, `not-an-image`;
 * unsupported `wrong-mode`, `qemu-img-missing`; unavailable when another process works on the volume
 */
export async function importVolume(
  session: Session,
  input: Input<'volume.import'>,
  call: CallContext,
  hooks: ImportHooks = {},
): Promise<ImportDocument> {
  requireCachedMode(session, 'volume import');
  const startedMs = session.blocks.clock.monotonicMs();
  const source = await inspectSource(resolve(input.file), input.format, call.signal);
  const target =
    input.into === undefined
      ? await claimNew(session, input, source, call)
      : await claimExisting(session, input.into, source, call);
  const report = target.done ? NOTHING : await runImport(session, { ...input, target, source, hooks }, call);
  const entry = await session.catalog.getVolume(target.volumeId, call.signal);
  return {
    ...(await readVolumeSummary(session, entry, call.signal)),
    source: source.path,
    format: source.format,
    resumed: target.resumed,
    readBytes: report.readBytes,
    changedBytes: report.changedBytes,
    zeroedBytes: report.zeroedBytes,
    storedBytes: report.storedBytes,
    durationMs: millisecondsSince(session, startedMs),
  };
}

/**
 * Makes a new volume of an image, in any mode. Durable in the store when it resolves; when it fails, the volume is deleted
 * again, as far as that can be had.
 * @throws as `importVolume`
 */
export async function importNew(
  session: Session,
  request: NewFromImage,
  call: CallContext,
  hooks: ImportHooks,
): Promise<VolumeEntry> {
  const { catalog, identity, locks } = session;
  const { path, from } = request;
  const source = await inspectSource(path, 'raw', call.signal);
  const entry = await locks.withNames('volumes', call, async () => {
    const taken = new Set((await catalog.listVolumes({ signal: call.signal })).map(({ name }) => name));
    let { name } = request;
    for (let number = 2; taken.has(name); number++) name = `${request.name}-${String(number)}`;
    const volume = {
      name,
      sizeBytes: Math.max(source.sizeBytes, from?.sizeBytes ?? 0),
      accountId: identity.accountId,
      unfinishedImport: { source: path, startedAt: timestamp(session) },
      ...(from === undefined ? {} : { from }),
    };
    return await catalog.createVolume(volume, call.signal);
  });
  const { volumeId } = entry;
  try {
    await runImport(session, { target: { volumeId, resumed: false, done: false }, source, hooks }, call);
    return entry;
  } catch (error) {
    const { markDeleted } = await import('./garbage.ts');
    const own = { ...call, signal: new AbortController().signal };
    const drop = async (): Promise<DeletedDocument> => markDeleted(session, entry, true, own);
    // What stays of it is listed as an import that is not finished.
    await locks.withVolume(volumeId, `deleting ${entry.name}`, own, drop).catch(() => undefined);
    throw error;
  }
}

/** Finds the unfinished import to go on with, or lists a new volume. */
async function claimNew(
  session: Session,
  input: Input<'volume.import'>,
  source: ImageSource,
  call: CallContext,
): Promise<Target> {
  const { catalog, identity, locks } = session;
  const { name } = input;
  if (name === undefined)
    throw new SgwError(
      'invalid',
      'name-missing',
      'an import needs the name of a new volume or a volume to import into',
      { hint: 'Add --name NAME, or --into VOLUME.' },
    );
  return await locks.withNames('volumes', call, async () => {
    const volumes = await catalog.listVolumes({ signal: call.signal });
    const unfinished = volumes.find((entry) => entry.name === name && entry.state === 'importing');
    if (unfinished !== undefined) {
      requireSameSource(unfinished, source.path);
      return { volumeId: unfinished.volumeId, resumed: true, done: false };
    }
    const request = { name, ifNotExists: input.ifNotExists ?? false, clientToken: input.clientToken };
    const existing = findExisting('volume', request, volumes, (entry) => [
      ['size', entry.sizeBytes === source.sizeBytes],
      ['source', entry.importedFrom === source.path],
      ['tags', sameTags(input.tags, entry.tags)],
    ]);
    if (existing !== undefined) return { volumeId: existing.volumeId, resumed: false, done: true };
    const created = await catalog.createVolume(
      {
        name,
        sizeBytes: source.sizeBytes,
        accountId: identity.accountId,
        unfinishedImport: { source: source.path, startedAt: timestamp(session) },
        ...(input.tags === undefined ? {} : { tags: input.tags }),
        ...(input.clientToken === undefined ? {} : { clientToken: input.clientToken }),
      },
      call.signal,
    );
    return { volumeId: created.volumeId, resumed: false, done: false };
  });
}

async function claimExisting(session: Session, ref: string, source: ImageSource, call: CallContext): Promise<Target> {
  const entry = await resolveVolume(session.catalog, ref, call.signal);
  requireDetached(session, entry, 'importing into a volume');
  if (entry.state === 'importing') requireSameSource(entry, source.path);
  return { volumeId: entry.volumeId, resumed: entry.unfinishedImport?.source === source.path, done: false };
}

function requireSameSource(entry: VolumeEntry, path: string): void {
  if (entry.unfinishedImport === null || entry.unfinishedImport.source === path) return;
  throw new SgwError(
    'conflict',
    'import-unfinished',
    `volume "${entry.name}" is being imported from ${entry.unfinishedImport.source}, not from ${path}`,
    {
      hint: `${importAgain(entry)}. Or drop it: sgw volume delete ${entry.name}`,
      details: { volumeId: entry.volumeId, source: entry.unfinishedImport.source },
    },
  );
}

interface ImportWork {
  readonly target: Target;
  readonly source: ImageSource;
  readonly hooks: ImportHooks;
  readonly takeOver?: boolean;
}

async function runImport(session: Session, work: ImportWork, call: CallContext): Promise<ImportReport> {
  const { catalog, blocks, identity, locks } = session;
  const { volumeId } = work.target;
  return await locks.withVolume(volumeId, `importing ${work.source.path}`, call, async () => {
    const entry = await resolveVolume(catalog, volumeId, call.signal);
    requireSameKindOfWork(entry, work);
    await settleLog(session, volumeId, call);
    await using image = await openSource(session, work.source, volumeId, call);
    await using pool = session.openPool();
    pool.start();
    const writer = await openVolumeWriter(blocks, volumeId, {
      holder: holderOf(session),
      accountId: identity.accountId,
      takeOver: work.takeOver ?? false,
      signal: call.signal,
    });
    let note: Note | null = null;
    const report = await closingAfter(writer, async () => {
      // Nobody has seen a volume whose first import is unfinished, so it follows the image's size both ways.
      if (entry.state === 'importing' && image.sizeBytes < writer.sizeBytes) await writer.resize(image.sizeBytes);
      if (image.sizeBytes >= writer.sizeBytes) note = await noteImport(session, writer, entry, work, call.signal);
      return await importImage({
        pool,
        writer,
        volumeName: entry.name,
        image,
        diff: writer.map.mappedPages > 0,
        // Also where the note of an import that stopped was lost: the newest state is not one that snapshots may show.
        alwaysCommit: entry.unfinishedImport !== null || !writer.consistent,
        onProgress: progressOf(call, `importing ${entry.name}`),
        signal: call.signal,
      });
    });
    await work.hooks.beforeAvailable?.(entry, report);
    await catalog.updateVolume(volumeId, (now) => finished(now, note, work.source.path, image.sizeBytes), call.signal);
    return report;
  });
}

type Note = NonNullable<VolumeEntry['unfinishedImport']>;

/** The entry after the import that `note` tells of; since the head was given back, others may have changed it. */
function finished(now: VolumeEntry, note: Note | null, importedFrom: string, sizeBytes: number): VolumeEntry {
  if (now.state !== 'available' && now.state !== 'importing') {
    throw new SgwError('conflict', 'volume-deleted', `volume "${now.name}" was deleted while it was imported`, {
      hint: 'Import the image again, under a name that is free.',
      details: { volumeId: now.volumeId },
    });
  }
  const isOurs = now.unfinishedImport?.source === note?.source && now.unfinishedImport?.startedAt === note?.startedAt;
  return {
    ...now,
    state: 'available',
    unfinishedImport: isOurs ? null : now.unfinishedImport,
    importedFrom,
    sizeBytes,
  };
}

/** While this process waited for the lock, another may have ended the same import. */
function requireSameKindOfWork(entry: VolumeEntry, work: ImportWork): void {
  if (!work.target.resumed || entry.unfinishedImport !== null) return;
  throw new SgwError('conflict', 'volume-exists', `volume "${entry.name}" was imported by another process meanwhile`, {
    hint: `To commit what has changed since: sgw volume import ${work.source.path} --into ${entry.name}`,
    details: { volumeId: entry.volumeId },
  });
}

/**
 * Durable before the first commit, so that a kill from here on is seen as an unfinished import. Each run has a note of
 * its own, so that it does not end with another's; a volume made by this run has it already.
 */
async function noteImport(
  session: Session,
  writer: VolumeWriter,
  entry: VolumeEntry,
  work: ImportWork,
  signal: AbortSignal,
): Promise<Note> {
  const { source, target } = work;
  if (!target.resumed && entry.unfinishedImport?.source === source.path) return entry.unfinishedImport;
  const unfinishedImport = { source: source.path, startedAt: timestamp(session) };
  const note = async (now: VolumeEntry): Promise<VolumeEntry> => {
    // Asked between the reading and the writing of the entry, which whoever takes over changes too: so an import that was overtaken leaves no note.
    await writer.requireHeld(signal);
    return { ...now, unfinishedImport };
  };
  await session.catalog.updateVolume(entry.volumeId, note, signal);
  return unfinishedImport;
}

/** Gives the volume back in order, after a failure too, with a checkpoint to resume from; a writer that failed itself refuses that, and leaves it to the next opening. */
async function closingAfter<T>(writer: VolumeWriter, work: () => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    // The failure of the import is what the caller needs to know, not one of tidying up after it.
    await writer.close().catch(() => undefined);
    await writer.abandon();
    throw error;
  }
  await writer.close();
  return result;
}
