/** What is known of a shadowed image, once it is not shadowed any more. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MARKS_FILE } from '../../volume/index.ts';
import { shadowFolder } from './settings.ts';

/** From now on others may write to an image. What a log holds that is left is told by the record beside it. */
export async function forgetImage(home: string, volumeId: string, isDrained: boolean): Promise<void> {
  const folder = shadowFolder(home, volumeId);
  await rm(isDrained ? folder : join(folder, MARKS_FILE), { recursive: true, force: true });
}
