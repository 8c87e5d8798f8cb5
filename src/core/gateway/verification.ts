/** Reading back everything that a volume or a snapshot maps. */
import { isCorrupt, openSnapshotView, type VolumeView } from '../blockstore/index.ts';
import { withPinnedSnapshot, withPinnedVolume } from '../blockstore/gc/index.ts';
import { ExtentList } from '../blockstore/scrub/index.ts';
import { SgwError } from '../kit/index.ts';
import type { CallContext, Input, VerifyDocument } from '../localapi/index.ts';
import { verifyView, type VerifyReport, type ViewDamage } from '../transfer/index.ts';
import { resolveSnapshot, resolveVolume } from './references.ts';
import { millisecondsSince, pinOf, progressOf, type Session } from './session.ts';

/** Reads back and checks every page of the newest committed state. @throws corrupt `damage-found` naming all extents hurt */
export async function verifyVolume(
  session: Session,
  input: Input<'volume.verify'>,
  call: CallContext,
): Promise<VerifyDocument> {
  const { volumeId, name, sizeBytes } = await resolveVolume(session.catalog, input.volume, call.signal);
  const remarks: string[] = [];
  const pin = pinOf(session, `verifying ${volumeId}`, remarks);
  const read: Subject['read'] = (work) => withPinnedVolume(session.blocks, volumeId, pin, work, call.signal);
  return await verify(session, { id: volumeId, name, sizeBytes, read, remarks }, call);
}

/** Reads back and checks every page of a snapshot. @throws corrupt `damage-found` naming all extents hurt */
export async function verifySnapshot(
  session: Session,
  input: Input<'snapshot.verify'>,
  call: CallContext,
): Promise<VerifyDocument> {
  const entry = await resolveSnapshot(session.catalog, input.snapshot, call.signal);
  const { snapshotId, name, sizeBytes } = entry;
  const view = openSnapshotView(session.blocks, entry);
  const remarks: string[] = [];
  const pin = pinOf(session, `verifying ${snapshotId}`, remarks);
  const read: Subject['read'] = (work) =>
    withPinnedSnapshot(session.blocks, entry, pin, (signal) => work(view, signal), call.signal);
  return await verify(session, { id: snapshotId, name, sizeBytes, read, remarks }, call);
}

interface Subject {
  readonly id: string;
  readonly name: string;
  /** As its entry says. */
  readonly sizeBytes: number;
  /** What `read` has to tell. */
  readonly remarks: readonly string[];
  /** Opens it, and keeps gc from what it reaches meanwhile. */
  readonly read: (work: (view: VolumeView, signal: AbortSignal) => Promise<VerifyReport>) => Promise<VerifyReport>;
}

async function verify(session: Session, subject: Subject, call: CallContext): Promise<VerifyDocument> {
  const startedMs = session.blocks.clock.monotonicMs();
  const { id, name } = subject;
  const report = await readBack(session, subject, call);
  const { checkedBytes, checkedObjects, damage } = report;
  if (damage.length > 0) throw damageFound(subject, damage);
  const remarks = subject.remarks.length === 0 ? {} : { remarks: [...subject.remarks] };
  const durationMs = millisecondsSince(session, startedMs);
  return { id, name, ok: true, checkedBytes, checkedObjects, durationMs, ...remarks };
}

async function readBack(session: Session, subject: Subject, call: CallContext): Promise<VerifyReport> {
  try {
    return await subject.read(async (view, signal) => {
      await using pool = session.openPool();
      return await verifyView({ pool, view, signal, onProgress: progressOf(call, `verifying ${subject.name}`) });
    });
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    const key = typeof error.details['key'] === 'string' ? error.details['key'] : '';
    const whole = [{ offset: 0, length: subject.sizeBytes }];
    return { checkedBytes: 0, checkedObjects: 0, damage: [{ key, message: error.message, extents: whole }] };
  }
}

function damageFound({ id, name }: Subject, damage: readonly ViewDamage[]): SgwError {
  const extents = new ExtentList();
  for (const { offset, length } of damage.flatMap((object) => object.extents)) extents.add(offset, length);
  const hurt = extents.merged;
  const bytes = hurt.reduce((sum, { length }) => sum + length, 0);
  const [first] = damage;
  return new SgwError(
    'corrupt',
    'damage-found',
    `${String(bytes)} bytes of ${name} can not be read, in ${String(hurt.length)} extent${hurt.length === 1 ? '' : 's'}: ${first?.message ?? ''}`,
    {
      hint: 'The rest can be read. `sgw store scrub` tells what else is hurt; put intact copies of the objects back, from a copy of the store.',
      details: { id, name, extents: hurt, objects: damage.map(({ key }) => key), damage },
    },
  );
}
