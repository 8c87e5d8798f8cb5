/** Why a login ends, as a status of RFC 7143, 11.13.5. */
import { SgwError, type ErrorKind } from '../kit/index.ts';
import type { Pair } from './text.ts';
import { LOGIN_STATUS } from './wire.ts';

/** A login that is answered with `status`, class in the high byte, and ends. */
export class LoginRefused extends SgwError {
  readonly status: number;
  /** Go with the answer: where a target is that has moved. */
  readonly pairs: readonly Pair[];

  constructor(status: number, message: string, pairs: readonly Pair[] = []) {
    super('denied', 'iscsi-login-refused', message);
    this.status = status;
    this.pairs = pairs;
  }
}

/** What an initiator can do about it decides: class 2 is final, class 3 is tried again. */
const STATUS_OF_KIND: Readonly<Partial<Record<ErrorKind, number>>> = {
  notFound: LOGIN_STATUS.notFound,
  invalid: LOGIN_STATUS.initiatorError,
  unavailable: LOGIN_STATUS.serviceUnavailable,
  timeout: LOGIN_STATUS.serviceUnavailable,
  aborted: LOGIN_STATUS.serviceUnavailable,
  conflict: LOGIN_STATUS.serviceUnavailable,
  fenced: LOGIN_STATUS.serviceUnavailable,
  exhausted: LOGIN_STATUS.outOfResources,
};

/** `denied` is about who may use a target; a CHAP that failed is about who somebody is. */
export function loginStatus(error: SgwError): number {
  if (error instanceof LoginRefused) return error.status;
  if (error.kind === 'denied')
    return error.code === 'iscsi-chap' ? LOGIN_STATUS.authenticationFailed : LOGIN_STATUS.authorizationFailed;
  return STATUS_OF_KIND[error.kind] ?? LOGIN_STATUS.targetError;
}
