/** What a holder's answer means to the device above. */
import { SgwError, type ErrorKind } from '../kit/index.ts';
import { ERRNO, type WireFailure } from '../nbd/client/index.ts';

interface Row {
  readonly kind: ErrorKind;
  readonly says: string;
}

/** By kinds that become the same number again on the way to the client above. */
const ROWS: Readonly<Record<number, Row>> = {
  [ERRNO.EPERM]: { kind: 'readOnly', says: 'takes no writes here' },
  [ERRNO.EINVAL]: { kind: 'invalid', says: 'refuses the request' },
  [ERRNO.ENOMEM]: { kind: 'exhausted', says: 'has no memory' },
  [ERRNO.ENOSPC]: { kind: 'exhausted', says: 'has no space' },
  [ERRNO.EOVERFLOW]: { kind: 'invalid', says: 'finds the request too long' },
  [ERRNO.ENOTSUP]: { kind: 'unsupported', says: 'does not do this' },
};
const IO: Row = { kind: 'unavailable', says: 'could not read or write' };

/** Whether the holder says that it is not the holder any more, or will not be soon: the request goes to the next one. */
export const isLeaving = ({ errno }: WireFailure): boolean => errno === ERRNO.ESHUTDOWN;

export function deviceError({ errno, message }: WireFailure): SgwError {
  const { kind, says } = ROWS[errno] ?? IO;
  return new SgwError(kind, 'holder-answer', `the holder ${says}${message === '' ? '' : `: ${message}`}`, {
    details: { errno },
  });
}
