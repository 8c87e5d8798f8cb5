/** What a shadowing volume is made of. */
import type { CachedVolumeParts } from '../opening.ts';
import type { ShadowDisk, ShadowImage } from './contract.ts';

export interface ShadowParts extends CachedVolumeParts {
  /** Open, and locked; closed with the volume. */
  readonly image: ShadowImage;
  readonly shadowDisk: ShadowDisk;
}
