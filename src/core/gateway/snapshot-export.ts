/** Exporting a snapshot as an image file. */
import { resolve } from 'node:path';
import { openSnapshotView } from '../blockstore/index.ts';
import { withPinnedSnapshot } from '../blockstore/gc/index.ts';
import type { SparseOutput } from '../image/index.ts';
import { toSgwError, withAdvice } from '../kit/index.ts';
import type { CallContext, ExportDocument, ImageFormat, Input } from '../localapi/index.ts';
import { exportView, type ExportReport } from '../transfer/index.ts';
import { resolveSnapshot } from './references.ts';
import { advisoryRemark, millisecondsSince, pinOf, progressOf, type Session } from './session.ts';

/**
 * Writes a snapshot as an image file: sparse, checked against the stored hashes, under a hidden name until it is whole.
 * The same command run again after a kill or a failure goes on from the last watermark; what a damaged store gave is removed. Durable on the local disk when it resolves.
 * @throws denied `export-denied` when it holds blocks of an account that does not share it; conflict `file-exists`, `snapshot-not-completed`; unavailable `target-in-use`; corrupt naming object and extent;
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
  const { binding } = await session.service.ask(
    'export.decide',
    { accountId: session.identity.accountId, snapshotId: entry.snapshotId, purpose: 'export' },
    call,
  );
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
  const remarks = binding ? [] : [advisoryRemark(session)];
  const pin = pinOf(session, `exporting ${entry.snapshotId}`, remarks);
  await using pool = session.openPool();
  pool.start();
  const exporting = async (stop: AbortSignal): Promise<ExportReport> => {
    return await exportView({
      pool,
      view,
      output,
      signal: stop,
      onProgress: progressOf(call, `exporting ${entry.name}`),
    });
  };
  const { dataBytes } = await keepingPartial(output, async () => {
    const report = await withPinnedSnapshot(session.blocks, entry, pin, exporting, signal);
    await publish(output, { path, format, force, sizeBytes: view.sizeBytes, name: entry.name }, call);
    return report;
  });
  return {
    snapshotId: entry.snapshotId,
    name: entry.name,
    path,
    format,
    sizeBytes: view.sizeBytes,
    dataBytes,
    resumed,
    verified: true,
    remarks,
    durationMs: millisecondsSince(session, startedMs),
  };
}

/** What was written before a failure stays, and the error says so; unless the store is damaged, when it is of no use. */
async function keepingPartial<T>(output: SparseOutput, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const failure = toSgwError(error);
    if (failure.kind === 'corrupt') {
      await output.discard().catch(() => undefined);
      throw failure;
    }
    if (!output.resumable) throw failure;
    const { partialPath } = output;
    const kept = `The partial file ${partialPath} is kept, so that the same command goes on; delete it to start anew.`;
    throw withAdvice(error, kept, { partialPath });
  }
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
