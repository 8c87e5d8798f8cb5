/**
 * Snapshots and image files: export writes one as an image, import makes a volume and a snapshot of one.
 */
import { resolve } from 'node:path';
import { openSnapshotView } from '../blockstore/index.ts';
import type { SparseOutput } from '../image/index.ts';
import { SgwError } from '../kit/index.ts';
import type { CallContext, ExportDocument, ImageFormat, Input, SnapshotCreated } from '../localapi/index.ts';
import { exportView } from '../transfer/index.ts';
import { snapshotSummary } from './documents.ts';
import { resolveSnapshot } from './references.ts';
import { millisecondsSince, progressOf, requireCachedMode, type Session } from './session.ts';
import { hasName, makeSnapshot } from './snapshots.ts';
import { importVolume } from './volume-import.ts';

/**
 * Writes a snapshot as an image file: sparse, checked against the stored hashes, under a hidden name until it is whole.
 * The same command run again after a kill goes on from the last watermark. Durable on the local disk when it resolves.
 * @throws conflict `file-exists`, `snapshot-not-completed`; unavailable `target-in-use`; corrupt naming object and extent;
 * unsupported `qemu-img-missing`
 */
export async function exportSnapshot(
  session: Session,
  input: Input<'snapshot.export'>,
  call: CallContext,
): Promise<ExportDocument> {
  const startedMs = session.blocks.clock.monotonicMs();
  const { signal } = call;
  const format = input.format ?? 'raw';
  const entry = await resolveSnapshot(session.catalog, input.snapshot, signal);
  const view = openSnapshotView(session.blocks, entry);
  const images = await import('../image/index.ts');
  if (format !== 'raw') await images.qemuImgVersion({ signal });
  const path = resolve(input.path);
  const force = input.force ?? false;
  await using output = await images.createSparseOutput(path, {
    sizeBytes: view.sizeBytes,
    resumeKey: entry.snapshotId,
    force,
    signal,
  });
  const resumed = output.resumedFrom > 0;
  await using pool = session.openPool();
  const { dataBytes } = await exportView({
    pool,
    view,
    output,
    signal,
    onProgress: progressOf(call, `exporting ${entry.name}`),
  });
  await publish(output, { path, format, force, sizeBytes: view.sizeBytes, name: entry.name }, call);
  return {
    snapshotId: entry.snapshotId,
    name: entry.name,
    path,
    format,
    sizeBytes: view.sizeBytes,
    dataBytes,
    resumed,
    verified: true,
    durationMs: millisecondsSince(session, startedMs),
  };
}

interface Publication {
  readonly path: string;
  readonly format: ImageFormat;
  readonly force: boolean;
  readonly sizeBytes: number;
  readonly name: string;
}

/** A container image is made from the whole raw one, which a kill meanwhile leaves to start from. */
async function publish(output: SparseOutput, as: Publication, call: CallContext): Promise<void> {
  if (as.format === 'raw') {
    await output.finish();
    return;
  }
  const { convertFromRaw } = await import('../image/index.ts');
  await convertFromRaw(output.partialPath, as.path, as.format, {
    sizeBytes: as.sizeBytes,
    force: as.force,
    signal: call.signal,
    onProgress: progressOf(call, `converting ${as.name} to ${as.format}`),
  });
  await output.discard();
}

/**
 * Imports an image as a new volume and a completed snapshot of it; the volume stays. Run again after a failure or a kill,
 * it goes on where it was. Durable in the store when it resolves.
 * @throws what `importVolume` and `makeSnapshot` throw
 */
export async function importSnapshot(
  session: Session,
  input: Input<'snapshot.import'>,
  call: CallContext,
): Promise<SnapshotCreated> {
  requireCachedMode(session, 'snapshot import');
  const { catalog } = session;
  const present = (await catalog.listSnapshots({ signal: call.signal })).filter(hasName);
  const volumeName = input.volumeName ?? input.name;
  const known = present.find((entry) =>
    input.clientToken === undefined ? entry.name === input.name : entry.clientToken === input.clientToken,
  );
  if (
    known !== undefined &&
    (input.ifNotExists === true || input.clientToken !== undefined) &&
    known.name === input.name
  ) {
    if (known.volumeName === volumeName) return { ...snapshotSummary(known), created: false };
    throw new SgwError(
      'conflict',
      'different-parameters',
      `snapshot "${known.name}" exists with another volume, ${known.volumeName}`,
      {
        hint: 'Choose another name, or ask for what exists.',
        details: { snapshotId: known.snapshotId, differing: ['volume'] },
      },
    );
  }
  let made: SnapshotCreated | undefined;
  const about = {
    name: input.name,
    ...(input.description === undefined ? {} : { description: input.description }),
    ...(input.tags === undefined ? {} : { tags: input.tags }),
    ...(input.clientToken === undefined ? {} : { clientToken: input.clientToken }),
  };
  await importVolume(
    session,
    {
      file: input.file,
      name: volumeName,
      ...(input.format === undefined ? {} : { format: input.format }),
      ...(input.tags === undefined ? {} : { tags: input.tags }),
    },
    call,
    {
      beforeAvailable: async (volume) => {
        // Of an unfinished import, a snapshot by this name is what an earlier run of the same command made.
        made = await makeSnapshot(session, volume, { ...about, ifNotExists: true }, call);
      },
    },
  );
  if (made === undefined) throw new SgwError('internal', 'assertion', 'an import that ended made its snapshot');
  return { ...made, created: true };
}
