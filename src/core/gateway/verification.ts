/** Reading back everything that a volume or a snapshot maps. */
import { openSnapshotView, openVolumeView, type VolumeView } from '../blockstore/index.ts';
import type { CallContext, Input, VerifyDocument } from '../localapi/index.ts';
import { verifyView } from '../transfer/index.ts';
import { resolveSnapshot, resolveVolume } from './references.ts';
import { millisecondsSince, progressOf, type Session } from './session.ts';

/** Reads back and checks every page of the newest committed state. @throws corrupt naming object and extent */
export async function verifyVolume(
  session: Session,
  input: Input<'volume.verify'>,
  call: CallContext,
): Promise<VerifyDocument> {
  const { volumeId, name } = await resolveVolume(session.catalog, input.volume, call.signal);
  const open = async (): Promise<VolumeView> => openVolumeView(session.blocks, volumeId, { signal: call.signal });
  return await verify(session, { id: volumeId, name, open }, call);
}

/** Reads back and checks every page of a snapshot. @throws corrupt naming object and extent */
export async function verifySnapshot(
  session: Session,
  input: Input<'snapshot.verify'>,
  call: CallContext,
): Promise<VerifyDocument> {
  const entry = await resolveSnapshot(session.catalog, input.snapshot, call.signal);
  const open = async (): Promise<VolumeView> => Promise.resolve(openSnapshotView(session.blocks, entry));
  return await verify(session, { id: entry.snapshotId, name: entry.name, open }, call);
}

interface Subject {
  readonly id: string;
  readonly name: string;
  readonly open: () => Promise<VolumeView>;
}

async function verify(session: Session, { id, name, open }: Subject, call: CallContext): Promise<VerifyDocument> {
  const startedMs = session.blocks.clock.monotonicMs();
  const view = await open();
  await using pool = session.openPool();
  const report = await verifyView({
    pool,
    view,
    signal: call.signal,
    onProgress: progressOf(call, `verifying ${name}`),
  });
  return { id, name, ok: true, ...report, durationMs: millisecondsSince(session, startedMs) };
}
