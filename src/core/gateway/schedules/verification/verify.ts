/** A verified restore: the newest snapshot of a volume is read as a restore reads it, and a command may look at what is restored. */
import { openSnapshotView, PAGE_BYTES, type SnapshotEntry, type VolumeView } from '../../../blockstore/index.ts';
import { withPinnedSnapshot } from '../../../blockstore/gc/index.ts';
import { SgwError, toSgwError, type SnapshotId } from '../../../kit/index.ts';
import type { CallContext } from '../../../localapi/index.ts';
import type { VerificationState, VerifyingState } from '../../../state/index.ts';
import { exportView, verifyView } from '../../../transfer/index.ts';
import { noCache } from '../../serving/no-cache.ts';
import { millisecondsSince, pinOf, timestamp, type Session } from '../../session.ts';
import { runCommand } from '../../run-command.ts';
import { VerifyPlace } from './place.ts';

/** What `verified` of a snapshot holds of its message. */
const MESSAGE_CHARACTERS_MAX = 300;

type Outcome = Pick<VerificationState, 'ok' | 'checkedBytes' | 'exitCode' | 'message' | 'output'>;

/** The newest completed snapshot of the volume, of the account's own; `pending` when one is to be, and undefined when there is none. */
export async function newestSnapshot(
  session: Session,
  volumeId: string,
  { signal }: CallContext,
): Promise<SnapshotEntry | 'pending' | undefined> {
  const listed = (await session.catalog.listSnapshots({ signal })).filter((entry) => entry.volumeId === volumeId);
  const newest = listed.findLast(({ state }) => state === 'completed');
  return newest ?? (listed.some(({ state }) => state === 'pending') ? 'pending' : undefined);
}

/**
 * Reads back a snapshot, all or a sample, runs the command over it, and records the outcome in the snapshot's object. Damage, and
 * a command that fails or takes too long, are outcomes.
 * @throws what kept it from being tried: the store is away, the image has no room
 */
export async function verifySnapshotOf(
  session: Session,
  entry: SnapshotEntry,
  how: Pick<VerifyingState, 'share' | 'command' | 'timeoutMs'>,
  call: CallContext,
): Promise<VerificationState> {
  const startedMs = session.blocks.clock.monotonicMs();
  const { snapshotId, name } = entry;
  const pin = pinOf(session, `verifying ${snapshotId}`, []);
  const outcome = await withPinnedSnapshot(
    session.blocks,
    entry,
    pin,
    async (signal) => {
      const view = openSnapshotView(session.blocks, entry);
      const read = await readBack(session, view, how.share, signal);
      if (!read.ok || how.command === null) return read;
      const look = lookAt(session, entry, view, { ...how, command: how.command }, signal);
      // What the sample passed over may be damaged: the copy for the command finds it.
      return await look.then((found) => ({ ...read, ...found }), damaged(read));
    },
    call.signal,
  );
  const at = timestamp(session);
  await record(session, snapshotId, { ...outcome, at, share: how.share });
  const durationMs = millisecondsSince(session, startedMs);
  return { ...outcome, snapshotId, name, at, share: how.share, durationMs };
}

async function readBack(session: Session, view: VolumeView, share: number, signal: AbortSignal): Promise<Outcome> {
  const nothing = { exitCode: null, output: null };
  await using pool = session.openPool();
  const sample = share < 1 ? { share, random: session.blocks.random } : undefined;
  try {
    const { checkedBytes, damage } = await verifyView({ pool, view, signal, sample });
    const [first] = damage;
    const message = first === undefined ? null : `${String(damage.length)} objects are damaged: ${first.message}`;
    return { ...nothing, ok: first === undefined, checkedBytes, message };
  } catch (error) {
    return damaged({ ...nothing, ok: false, checkedBytes: 0, message: null })(error);
  }
}

/** Makes an outcome of damage, which is none of a command. @throws anything else */
const damaged =
  (read: Outcome) =>
  (error: unknown): Outcome => {
    const failure = toSgwError(error);
    if (failure.kind !== 'corrupt') throw failure;
    return { ...read, ok: false, message: failure.message };
  };

type Look = Pick<VerifyingState, 'timeoutMs'> & { readonly command: string };

/** Serves the snapshot in a place of its own while the command runs. */
async function lookAt(
  session: Session,
  entry: SnapshotEntry,
  view: VolumeView,
  { command, timeoutMs }: Look,
  signal: AbortSignal,
): Promise<Pick<Outcome, 'ok' | 'exitCode' | 'message' | 'output'>> {
  const { home, blocks, identity, openServing } = session;
  if (openServing === undefined)
    throw new SgwError(
      'unsupported',
      'serving-unavailable',
      'a command needs a gateway daemon to serve what it looks at',
    );
  const parts = await openServing();
  const device = await parts.openView({ blocks, view, cache: noCache(), readAheadBytes: 0 });
  try {
    await using place = await VerifyPlace.open(home, identity.gatewayId, device, blocks.clock);
    const wantsImage = command.includes('SGW_IMAGE');
    const dataBytes = view.map.mappedPages * PAGE_BYTES;
    const image = wantsImage
      ? await place.image(dataBytes, async (path) => copyTo(session, view, path, signal), signal)
      : undefined;
    const { exitCode, isTimedOut, output } = await runCommand({
      ...{ command, timeoutMs, signal, cwd: place.folder },
      env: {
        SGW_NBD_URI: place.uri,
        SGW_SNAPSHOT: entry.name,
        SGW_SNAPSHOT_ID: entry.snapshotId,
        SGW_VOLUME: entry.volumeName,
        SGW_SIZE_BYTES: String(entry.sizeBytes),
        TMPDIR: place.folder,
        ...(image === undefined ? {} : { SGW_IMAGE: image }),
      },
    });
    const ok = exitCode === 0 && !isTimedOut;
    const why = isTimedOut ? `took more than ${String(timeoutMs)} ms` : `ended with ${String(exitCode ?? 'a signal')}`;
    return { ok, exitCode, output: output === '' ? null : output, message: ok ? null : `the command ${why}` };
  } finally {
    await device.close();
  }
}

async function copyTo(session: Session, view: VolumeView, path: string, signal: AbortSignal): Promise<void> {
  const { createSparseOutput } = await import('../../../image/index.ts');
  const { sizeBytes } = view;
  await using output = await createSparseOutput(path, { sizeBytes, resumeKey: 'verify', force: true, signal });
  await using pool = session.openPool();
  await exportView({ pool, view, output, signal });
  await output.finish();
}

type Verified = NonNullable<SnapshotEntry['verified']>;

/** For everybody who sees the snapshot. One that was deleted meanwhile has no use for it. */
async function record(
  session: Session,
  snapshotId: SnapshotId,
  { at, ok, checkedBytes, share, exitCode, message }: Outcome & { readonly at: string; readonly share: number },
): Promise<void> {
  const text = message?.slice(0, MESSAGE_CHARACTERS_MAX) ?? null;
  const verified: Verified = { at, ok, checkedBytes, share, exitCode, message: text };
  await session.catalog.updateSnapshot(snapshotId, (now) => (now.state === 'completed' ? { ...now, verified } : now));
}
