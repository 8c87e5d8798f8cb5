/** What has to be compared when an image is opened: told by the record of the last time, and by the image itself (C19). */
import type { ImageFacts, ImageFile } from '../../image/index.ts';
import type { ImageIdentity, ShadowDisk, ShadowRecord } from './contract.ts';
import { marksBytes, RegionMarks } from './region-marks.ts';
import { RegionWork } from './region-work.ts';

/**
 * An image that was changed so much later than this gateway wrote to it last was changed by somebody else. The gateway notes
 * twice a second that it has written.
 */
const OTHERS_WROTE_AFTER_MS = 1500;

export interface ShadowOpening {
  readonly marks: RegionMarks;
  readonly work: RegionWork;
  /** As it stands from now on, before it is written. */
  readonly record: ShadowRecord;
  /** Nothing was known of the image. */
  readonly isFirst: boolean;
}

/**
 * Notes of an image, opened first, that the volume holds the same (C25): nothing of it is compared. Durable when it resolves.
 * Nothing else may write to the image before it is opened.
 */
export async function noteSame(disk: ShadowDisk, image: ImageFile): Promise<void> {
  const marks = await disk.openMarks(marksBytes(image.sizeBytes), true);
  marks?.close();
  const about = { version: 1, state: 'compared', cursorPage: 0, behindSince: null } as const;
  await disk.writeRecord({ ...about, image: identityOf(image.facts()) }, true);
}

export async function openShadow(disk: ShadowDisk, image: ImageFile): Promise<ShadowOpening> {
  const facts = image.facts();
  const last = await disk.readRecord();
  const bytes = marksBytes(image.sizeBytes);
  const known = last !== undefined && isSameImage(last.image, facts) ? last : undefined;
  const kept = known === undefined ? undefined : await disk.openMarks(bytes, false);
  const isTrusted = known !== undefined && kept !== undefined && (await isUntouched(disk, image, known, facts));
  const behindSince = (known ?? last)?.behindSince ?? null;
  // Before the marks of another image go: whatever image is here after a crash is compared.
  if (kept === undefined)
    await disk.writeRecord(
      { version: 1, image: identityOf(facts), state: 'comparing', cursorPage: 0, behindSince },
      true,
    );
  const file = kept ?? (await disk.openMarks(bytes, true));
  if (file === undefined) throw new Error('marks that were just made are not there');
  // What a process that was killed left is in the kernel's page cache, and may be relied on from here.
  await file.sync();
  const marks = new RegionMarks(file);
  const cursorPage = isTrusted ? trustedUpTo(known) : 0;
  const regions = isTrusted && known.state !== 'clean' ? marks.regions() : [];
  const work = new RegionWork(image.sizeBytes, regions, cursorPage);
  const record: ShadowRecord = {
    version: 1,
    image: identityOf(facts),
    state: work.isComparing && !(isTrusted && known.state === 'compared') ? 'comparing' : 'compared',
    cursorPage: work.cursorPage,
    behindSince,
  };
  return {
    marks,
    work,
    record,
    isFirst: last === undefined,
  };
}

/** Pages below were compared, or have marks. */
const trustedUpTo = ({ state, cursorPage }: ShadowRecord): number =>
  state === 'comparing' ? cursorPage : Number.MAX_SAFE_INTEGER;

export const identityOf = ({ sizeBytes, device, inode, modifiedAtNs, changedAtNs }: ImageFacts): ImageIdentity => ({
  sizeBytes: String(sizeBytes),
  device,
  inode,
  modifiedAtNs: String(modifiedAtNs),
  changedAtNs: String(changedAtNs),
});

const isSameImage = (last: ImageIdentity, { sizeBytes, device, inode }: ImageFacts): boolean =>
  last.sizeBytes === String(sizeBytes) && last.device === device && last.inode === inode;

/** Whether provably nobody else has written to the image since. */
async function isUntouched(
  disk: ShadowDisk,
  image: ImageFile,
  { state, image: last }: ShadowRecord,
  { modifiedAtNs, changedAtNs }: ImageFacts,
): Promise<boolean> {
  // A device does not tell.
  if (image.kind === 'blockDevice') return false;
  if (state === 'clean') return last.modifiedAtNs === String(modifiedAtNs) && last.changedAtNs === String(changedAtNs);
  // Put back to a state of before.
  if (changedAtNs < BigInt(last.changedAtNs)) return false;
  const touchedMs = await disk.touchedMs();
  const changedMs = Number((modifiedAtNs > changedAtNs ? modifiedAtNs : changedAtNs) / 1_000_000n);
  return touchedMs !== undefined && changedMs <= touchedMs + OTHERS_WROTE_AFTER_MS;
}
