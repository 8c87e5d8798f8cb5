/** What serving is made of; put together in room `daemon`, by tests with parts of their own. */
import type { BlockDevice } from '../../blockdevice/index.ts';
import type { BlockStoreOptions, Holder, VolumeView } from '../../blockstore/index.ts';
import type { CacheLimits, FrameCache } from '../../cache/index.ts';
import type { VolumeId } from '../../kit/index.ts';
import type { ServedVolume, ShadowImage, VolumeSettings } from '../../volume/index.ts';
import type { GroupOpening } from './group-opening.ts';

export interface VolumeRequest {
  readonly blocks: BlockStoreOptions;
  readonly volumeId: VolumeId;
  readonly holder: Holder;
  /** Whose what is written is. */
  readonly accountId: string;
  /** Open it also when another gateway holds it, which is fenced. */
  readonly takeOver: boolean;
  readonly settings: VolumeSettings;
  /** `<home>/volumes/<volumeId>/log`. Made when it is missing. */
  readonly logFolder: string;
  readonly cache: FrameCache;
  /** Of a volume of a group. */
  readonly group?: GroupOpening;
  readonly signal: AbortSignal;
}

export interface ShadowRequest extends VolumeRequest {
  /** Open; closed with the volume, also when that can't be opened. */
  readonly image: ShadowImage;
  /** `<home>/volumes/<volumeId>/shadow`. Made when it is missing. */
  readonly shadowFolder: string;
}

export interface ViewRequest {
  readonly blocks: BlockStoreOptions;
  /** Does not change while it is open. */
  readonly view: VolumeView;
  readonly cache: FrameCache;
  readonly readAheadBytes: number;
}

/** A read-only device. */
export interface ServedView extends BlockDevice {
  close(): Promise<void>;
}

export interface ServingParts {
  /** Opens the gateway's cache in `folder`, which is made when it is missing. */
  readonly openCache: (folder: string, limits: CacheLimits) => Promise<FrameCache>;
  /** Opens a volume for reading and writing. The caller holds the volume's lock. */
  readonly openVolume: (request: VolumeRequest) => Promise<ServedVolume>;
  /** Serves a local image, which the volume shadows. The caller holds the volume's lock. */
  readonly openShadow: (request: ShadowRequest) => Promise<ServedVolume>;
  /** Opens a state that does not change any more, for reading. */
  readonly openView: (request: ViewRequest) => Promise<ServedView>;
  /** Ends what all of them share, when all of them are closed. */
  readonly close: () => Promise<void>;
}
