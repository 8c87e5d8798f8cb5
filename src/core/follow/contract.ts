/** Following a volume: where its holder is found, and what is told about it. */
import type { SgwError } from '../kit/index.ts';
import type { ClientTls } from '../nbd/client/index.ts';
import type { ListenAddress } from '../sockets/index.ts';

/** Where a volume may be served now. */
export interface FoundHolder {
  /** All are tried at once; the one that serves the export, with the newest epoch, is taken. */
  readonly addresses: readonly ListenAddress[];
  readonly exportName: string;
  readonly tls?: ClientTls;
}

export interface HolderFinder {
  /**
   * Asked again and again while the holder is looked for.
   * @throws whatever keeps it from knowing; it is asked again
   */
  find(signal: AbortSignal): Promise<FoundHolder>;
}

/** What happens on the way, for who watches. */
export type FollowEvent =
  | { readonly kind: 'lost'; readonly address: ListenAddress; readonly reason: SgwError; readonly waiting: number }
  /** Requests are under way, and for so long nothing was answered; it may be there still. */
  | { readonly kind: 'silent'; readonly address: ListenAddress; readonly silentMs: number; readonly waiting: number }
  /** One that was silent answers again. */
  | { readonly kind: 'resumed'; readonly address: ListenAddress; readonly afterMs: number }
  | {
      readonly kind: 'found';
      readonly address: ListenAddress;
      /** Since the last answer of the one before, or since it was lost; null for the first holder. */
      readonly afterMs: number | null;
      /** Requests that were sent again. */
      readonly repeated: number;
      /** Undefined when the server does not tell. */
      readonly epoch: number | undefined;
      readonly sizeBytes: number;
    }
  /** Why none was found yet; told when it changes. */
  | { readonly kind: 'looking'; readonly reason: SgwError; readonly forMs: number }
  | { readonly kind: 'resized'; readonly fromBytes: number; readonly toBytes: number };
