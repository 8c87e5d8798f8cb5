/** What a shadowing volume is made of. */
import type { ImageFile } from '../../image/index.ts';
import type { CachedVolumeParts } from '../opening.ts';
import type { ShadowDisk } from './contract.ts';

export interface ShadowParts extends CachedVolumeParts {
  /** Open, and locked; closed with the volume. */
  readonly image: ImageFile;
  readonly shadowDisk: ShadowDisk;
}
