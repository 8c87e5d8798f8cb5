/** Turns whatever failed into a number of the protocol. */
import { ERROR_KINDS, toSgwError, type SgwError } from '../kit/index.ts';
import { ERRNO, REP } from './wire.ts';

const ALLOWED = new Set<number>(Object.values(ERRNO));

export interface WireError {
  readonly errno: number;
  readonly message: string;
}

/** The number and the message of a reply. What the protocol has no number for becomes EIO. */
export function wireError(error: unknown): WireError {
  const failure = toSgwError(error);
  const { nbdErrno } = ERROR_KINDS[failure.kind];
  return { errno: ALLOWED.has(nbdErrno) ? nbdErrno : ERRNO.EIO, message: failure.message };
}

/** The reply to an option whose export could not be opened. */
export function optionError({ kind }: SgwError): number {
  switch (kind) {
    case 'notFound':
      return REP.errUnknown;
    case 'denied':
      return REP.errPolicy;
    case 'aborted':
      return REP.errShutdown;
    case 'invalid':
      return REP.errInvalid;
    default:
      return REP.errPlatform;
  }
}
