/** What an iSCSI server serves: the interface that whoever has volumes implements. */
import type { BlockDevice } from '../blockdevice/index.ts';
import type { UnitIdentity } from './scsi/index.ts';

/** RFC 7143, 12.1.3: a name that CHAP knows, and its secret. */
export interface ChapCredential {
  readonly user: string;
  readonly secret: Buffer;
}

export interface ChapRules {
  /** Any of these may log in. `target`: what the target proves itself with to just this one. */
  readonly initiators: readonly (ChapCredential & { readonly target?: ChapCredential | undefined })[];
  /** What the target proves itself with to the others, where they ask for it. */
  readonly target: ChapCredential | undefined;
}

export interface TargetEntry {
  /** An iqn, in lower case. */
  readonly name: string;
}

export interface TargetAccess {
  readonly kind: 'here';
  readonly name: string;
  readonly alias: string;
  /** Undefined: without authentication. */
  readonly chap: ChapRules | undefined;
}

/** The target is served by somebody else at the moment. */
export interface TargetMoved {
  readonly kind: 'moved';
  /** `HOST:PORT`, with IPv6 addresses in brackets. */
  readonly portal: string;
  readonly isPermanent: boolean;
}

/** A target that one session uses. */
export interface OpenedTarget {
  readonly device: BlockDevice;
  readonly isReadOnly: boolean;
  readonly unit: UnitIdentity;
  /** The session, which sent so many commands, uses it no more. Called once. */
  release(commands: number): Promise<void>;
}

export interface SessionRequest {
  readonly sessionId: number;
  readonly initiator: string;
  readonly user: string | undefined;
  readonly signal: AbortSignal;
}

export interface TargetDirectory {
  /** What an initiator is told of in discovery: what it may log in to. */
  list(initiator: string): Promise<readonly TargetEntry[]>;
  /** For discovery sessions. */
  discoveryChap(): ChapRules | undefined;
  /** @throws notFound when there is no such target; denied when this initiator may not use it; unavailable */
  find(target: string, initiator: string): Promise<TargetAccess | TargetMoved>;
  /** Opens a target for one session. @throws as `find` */
  open(target: string, request: SessionRequest): Promise<OpenedTarget>;
}
