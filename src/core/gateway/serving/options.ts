/** What serving is begun with, and what an attaching is asked with. */
import type { ImageFile } from '../../image/index.ts';
import type { Clock, Random } from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import type { RequestTally } from '../cost/tally.ts';
import type { Session } from '../session.ts';
import type { ChapSecrets } from './chap-file.ts';
import type { GroupOpening } from './group-opening.ts';
import type { ServingParts } from './parts.ts';

export interface ServingOptions {
  /** Absolute path of the home directory. */
  readonly home: string;
  /** Of sgw. */
  readonly version: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly parts: ServingParts;
  /** What was asked of stores since the start. */
  readonly requests?: RequestTally;
  /** What the work for an account stands on. */
  readonly openSession: (accountId: string, call: CallContext) => Promise<Session>;
}

export interface AttachOptions {
  readonly takeOver: boolean;
  /** Of an image that is restored: open already. */
  readonly image?: ImageFile;
  /** What the users of CHAP prove themselves with that the row names. */
  readonly chap?: ChapSecrets;
}

export interface Attempt extends AttachOptions {
  readonly call: CallContext;
  readonly group?: GroupOpening;
}
