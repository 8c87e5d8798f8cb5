/**
 * Recovers what a gateway acknowledged and never uploaded before another one took the volume over (C4, C6): a new volume, made
 * of the state that the write log continues, with the log's records upon it.
 *
 * The new volume is `importing` until all is in the store and was read back: what a kill leaves is told apart, and the same
 * command makes it anew. The log is only read; it stays until somebody removes it.
 */
import { readdir, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { findPastState, openConsistentView, type SnapshotEntry, type VolumeEntry } from '../blockstore/index.ts';
import { assert, SgwError, shellWord } from '../kit/index.ts';
import type { CallContext, Input, LogRecoveryDocument } from '../localapi/index.ts';
import { readLogContents, replayLogInto, type LogContents } from '../volume/index.ts';
import { directoryDisk } from '../writelog/index.ts';
import { markDeleted } from './garbage.ts';
import { dropHelperSnapshot, helperSnapshotOfCommit } from './helper-snapshots.ts';
import { requireFreeName } from './idempotency.ts';
import { resolveVolume } from './references.ts';
import { logsOf, retireLog } from './serving/local-log.ts';
import { noCache } from './serving/no-cache.ts';
import { logFolder, volumeFolder, volumeSettings } from './serving/settings.ts';
import { holderOf, millisecondsSince, requireCachedMode, timestamp, type Session } from './session.ts';
import { RECOVERED_TAG } from './unfinished-import.ts';
import { verifyVolume } from './verification.ts';

interface Work {
  readonly source: VolumeEntry;
  readonly into: string;
  readonly folder: string;
  readonly log: LogContents;
  /** The commit that the log continues, and how many of its records that has. */
  readonly base: { readonly seq: number; readonly timeMs: number };
  readonly from: number;
}

/**
 * Makes volume `into` of what a write log of `volume` holds. Durable in the store, and read back, when it resolves.
 * @throws notFound `no-write-log`, `log-base-gone`, `log-records-missing`; conflict `volume-exists`, `log-uploaded`, `log-in-use`,
 * `log-not-overtaken`;
 * invalid `which-log`; corrupt `damage-found`; unavailable
 */
export async function recoverLog(
  session: Session,
  input: Input<'volume.recover-log'>,
  call: CallContext,
): Promise<LogRecoveryDocument> {
  requireCachedMode(session, 'recovering a write log');
  const source = await resolveVolume(session.catalog, input.volume, call.signal);
  const folder = await chooseLog(session, source, input.log);
  const recover = async (): Promise<LogRecoveryDocument> =>
    await recoverFrom(session, await assess(session, source, input.into, folder, call), call);
  // One that was set aside, or whose volume was fenced, is written by nobody; from the other it must stay so. Who holds the
  // lock of the new volume, which has a random id, waits for no other one.
  if (folder !== logFolder(session.home, source.volumeId) || isFenced(session, source)) return await recover();
  return await session.locks.withVolume(source.volumeId, `recovering the write log of ${source.name}`, call, recover);
}

const isFenced = ({ serving }: Session, { volumeId }: VolumeEntry): boolean =>
  serving?.ofVolume(volumeId)?.failure?.kind === 'fenced';

async function chooseLog(session: Session, source: VolumeEntry, wanted: string | undefined): Promise<string> {
  const { home, serving } = session;
  const { volumeId, name } = source;
  const served = serving?.ofVolume(volumeId);
  const isInUse = served?.volume !== undefined && !isFenced(session, source);
  const folder = volumeFolder(home, volumeId);
  const all = await logsOf(home, volumeId);
  const chosen = wanted === undefined ? all.filter((log) => log !== 'log' || !isInUse) : [basename(wanted)];
  const [log, ...others] = chosen;
  if (log === undefined || !all.includes(log))
    throw new SgwError(
      'notFound',
      'no-write-log',
      `this home has no write log of volume "${name}" that was set aside`,
      {
        hint: '`sgw doctor` names the logs that hold something. They are in the home of the gateway that wrote them.',
        details: { volumeId, logs: all.map((one) => join(folder, one)) },
      },
    );
  if (others.length > 0)
    throw new SgwError('invalid', 'which-log', `this home has ${String(chosen.length)} write logs of "${name}"`, {
      hint: `Name one: --log ${chosen.join(', or --log ')}`,
      details: { volumeId, logs: chosen.map((one) => join(folder, one)) },
    });
  if (log === 'log' && isInUse)
    throw new SgwError('conflict', 'log-in-use', `volume "${name}" is served from that write log`, {
      hint: 'Nothing in it is lost: it is being uploaded.',
      details: { volumeId },
    });
  return join(folder, log);
}

/** What is to be put upon what. */
async function assess(
  { blocks }: Session,
  source: VolumeEntry,
  into: string,
  folder: string,
  { signal }: CallContext,
): Promise<Work> {
  const { volumeId, name } = source;
  const details = { volumeId, log: folder };
  const log = await readLogContents(directoryDisk(folder));
  const base = await findPastState(blocks, volumeId, (state) => log.recordsIn(state) !== undefined, { signal });
  if (base === undefined && !log.isOvertakenBy((await openConsistentView(blocks, volumeId, { signal })).position))
    throw new SgwError('conflict', 'log-not-overtaken', `nobody has written to volume "${name}" since ${folder} was`, {
      hint: `Attach the volume, and what is in the log goes into the store: sgw volume attach ${name}`,
      details,
    });
  if (base === undefined)
    throw new SgwError(
      'notFound',
      'log-base-gone',
      `the state of volume "${name}" that ${folder} continues is not in the store any more`,
      {
        hint: `Without it the log can not be made a whole volume; it is left as it is. What is kept of the volume: sgw recovery-point list ${name}, and sgw volume create NAME --from-volume ${name}@TIME`,
        details,
      },
    );
  const from = log.recordsIn(base) ?? 0;
  if (log.lastSequence <= from)
    throw new SgwError('conflict', 'log-uploaded', `all that is in ${folder} is in the store`, {
      hint: `Volume "${name}" had all of it at ${new Date(base.timeMs).toISOString()}. The log can go: rm -r ${shellWord(folder)}`,
      details,
    });
  return { source, into, folder, log, base, from };
}

async function recoverFrom(session: Session, work: Work, call: CallContext): Promise<LogRecoveryDocument> {
  const startedMs = session.blocks.clock.monotonicMs();
  const { source, folder, log, base } = work;
  await dropUnfinished(session, work, call);
  const purpose = `recovering a write log of ${source.name}`;
  const snapshot = await helperSnapshotOfCommit(session, source, { purpose, seq: base.seq }, call);
  let volume: VolumeEntry | undefined;
  try {
    const created = await createFrom(session, work, snapshot, call);
    volume = created;
    const { volumeId } = created;
    const records = await session.locks.withVolume(volumeId, `recovering ${folder}`, call, async () =>
      replay(session, work, created, call),
    );
    const { checkedBytes } = await verifyVolume(session, { volume: volumeId }, call);
    const { sizeBytes } = await session.catalog.headOf(volumeId, call.signal).then(({ checkpoint }) => checkpoint);
    const entry = await session.catalog.updateVolume(
      volumeId,
      (now) => ({ ...now, state: 'available', unfinishedImport: null, sizeBytes }),
      call.signal,
    );
    return {
      ...{ volumeId, name: entry.name, sizeBytes, fromVolumeId: source.volumeId, fromName: source.name },
      ...{ log: folder, records, baseSeq: base.seq, baseAt: new Date(base.timeMs).toISOString() },
      ...{ damage: log.damage, checkedBytes, durationMs: millisecondsSince(session, startedMs) },
    };
  } catch (error) {
    // What can not be removed is `importing`, and goes when the command is run again.
    if (volume !== undefined) await dropVolume(session, volume, call).catch(() => undefined);
    throw error;
  } finally {
    await dropHelperSnapshot(session, snapshot.snapshotId).catch(() => undefined);
  }
}

/** What an interrupted recovery of the same log into the same name has left. */
async function dropUnfinished(session: Session, { into, folder }: Work, call: CallContext): Promise<void> {
  const volumes = await session.catalog.listVolumes({ signal: call.signal });
  const left = volumes.find(
    ({ name, state, unfinishedImport }) =>
      name === into && state === 'importing' && unfinishedImport?.source === folder,
  );
  if (left === undefined) {
    requireFreeName('volume', into, volumes);
    return;
  }
  await session.locks.withVolume(left.volumeId, `removing what is left of ${into}`, call, () =>
    dropVolume(session, left, call),
  );
}

/** Deletes a volume that nobody has seen yet, with its local files. */
async function dropVolume(session: Session, entry: VolumeEntry, call: CallContext): Promise<void> {
  await markDeleted(session, entry, true, call);
  await rm(volumeFolder(session.home, entry.volumeId), { recursive: true, force: true });
}

async function createFrom(
  session: Session,
  { source, into, folder }: Work,
  from: SnapshotEntry,
  call: CallContext,
): Promise<VolumeEntry> {
  const { catalog, identity, locks } = session;
  return await locks.withNames('volumes', call, async () => {
    requireFreeName('volume', into, await catalog.listVolumes({ signal: call.signal }));
    return await catalog.createVolume(
      {
        name: into,
        sizeBytes: from.sizeBytes,
        accountId: identity.accountId,
        tags: { [RECOVERED_TAG]: source.volumeId },
        unfinishedImport: { source: folder, startedAt: timestamp(session) },
        from,
      },
      call.signal,
    );
  });
}

/** Writes the records into the volume as a client would, and brings all of it to the store. */
async function replay(session: Session, work: Work, { volumeId }: VolumeEntry, call: CallContext): Promise<number> {
  const { home, blocks, identity, openServing, settings } = session;
  assert(openServing !== undefined, 'whoever recovers a log can open volumes');
  const parts = await openServing();
  const { signal } = call;
  try {
    const volume = await parts.openVolume({
      blocks,
      volumeId,
      holder: holderOf(session),
      accountId: identity.accountId,
      takeOver: false,
      settings: { ...(await volumeSettings(home, settings, volumeId)), ack: 'log' },
      logFolder: logFolder(home, volumeId),
      cache: noCache(),
      signal,
    });
    try {
      const { bufferBytes } = await volumeSettings(home, settings, work.source.volumeId);
      const records = await replayLogInto({
        disk: directoryDisk(work.folder),
        clock: blocks.clock,
        bufferBytes: Math.max(bufferBytes, await folderBytes(work.folder)),
        from: work.from,
        volume,
        signal,
        onProgress: (doneBytes, totalBytes) => {
          call.onProgress({ label: `putting the records of the write log into ${work.into}`, doneBytes, totalBytes });
        },
      });
      await volume.drain({ signal });
      await volume.close({ drain: true, signal });
      await retireLog(home, volumeId);
      return records;
    } catch (error) {
      await volume.close({ drain: false }).catch(() => undefined);
      throw error;
    }
  } finally {
    await parts.close();
  }
}

/** A log may be larger than the settings of today. */
async function folderBytes(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder)) bytes += (await stat(join(folder, name))).size;
  return bytes;
}
