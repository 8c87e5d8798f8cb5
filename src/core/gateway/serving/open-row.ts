/** Opening what an export is of, as its row in the state says: with its throw-away clone where it has one, or the image that is restored. */
import type { FrameCache } from '../../cache/index.ts';
import type { CompletedRestore } from '../../state/index.ts';
import type { VolumeSettings } from '../../volume/index.ts';
import type { Attachment } from './attachment.ts';
import { openAttachment, type Opened } from './opened.ts';
import type { Attempt, ServingOptions } from './options.ts';
import { stopped } from './refusals.ts';
import { makeScratch } from './scratch.ts';
import { volumeSettings } from './settings.ts';
import type { StateBook } from './state-book.ts';
import { volumeWishes } from './wishes.ts';

interface RowParts {
  readonly options: ServingOptions;
  readonly state: StateBook;
  /** Undefined once serving has ended. */
  readonly cache: () => FrameCache | undefined;
  /** The image was restored. */
  readonly noteCompleted: (completed: CompletedRestore) => Promise<void>;
}

/** @throws unavailable `gateway-stopped`; what opening throws */
export async function openRow(
  attachment: Attachment,
  { call, takeOver, image, group }: Attempt,
  rowParts: RowParts,
): Promise<Opened> {
  const { home, parts, openSession } = rowParts.options;
  const { restore } = attachment.record;
  const restored = restore === undefined ? undefined : await import('./restored.ts');
  if (restored?.isCompleted(attachment.record) === true && attachment.record.volumeId === null)
    return await restored.openCompleted(attachment.record);
  const session = await openSession(attachment.record.accountId, call);
  if (attachment.record.scratchToken !== null && attachment.record.scratchVolumeId === null) {
    const row = { ...attachment.record, scratchVolumeId: await makeScratch(session, attachment.record, call) };
    await rowParts.state.replace(row, call);
    attachment.record = row;
  }
  const record = await rowParts.state.read();
  attachment.wishes = volumeWishes(record, attachment.volumeId ?? '');
  const settings = async (volumeId: string): Promise<VolumeSettings> => volumeSettings(home, record, volumeId);
  const cache = rowParts.cache();
  if (cache === undefined) throw stopped();
  const opening = {
    ...{ session, parts, cache, settings, takeOver, call },
    ...(group === undefined ? {} : { group }),
  };
  if (restore === undefined || restored === undefined) return await openAttachment(opening, attachment.record);
  if (restored.isCompleted(attachment.record)) return await restored.openShadowed(opening, attachment.record);
  return await restored.openRestored(opening, { ...attachment.record, restore }, rowParts.noteCompleted, image);
}
