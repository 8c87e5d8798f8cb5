/**
 * What a server or the way to it says, as errors of sgw: by HTTP status and by the code in the answer. Only what is
 * written here gets into messages and details, so that no header, and with it no secret, does.
 */
import { SgwError, toSgwError, type ErrorDetails, type ErrorKind } from '../../kit/index.ts';
import { formatS3Place, type S3Place } from './place.ts';

/** What the SDK puts on what it throws; everything may be missing. */
interface SdkFailure {
  readonly name?: string;
  readonly Code?: string;
  /** Of Node.js: ECONNREFUSED and so on. */
  readonly code?: string;
  readonly message?: string;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string };
  readonly cause?: unknown;
  readonly errors?: readonly unknown[];
}

interface Row {
  readonly kind: ErrorKind;
  readonly code: string;
  readonly hint?: string;
}

const CREDENTIALS_HINT = 'Check the credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.';
const CLOCK_HINT = 'Set the clock of this machine: requests are signed with the time.';
const REGION_HINT = 'Name the region of the bucket: --store-region REGION.';

/** By the code in the answer. */
const BY_CODE: Readonly<Record<string, Row>> = {
  NoSuchBucket: { kind: 'unavailable', code: 'store-gone', hint: 'Make the bucket again, or correct the endpoint.' },
  InvalidAccessKeyId: { kind: 'denied', code: 'store-denied', hint: CREDENTIALS_HINT },
  SignatureDoesNotMatch: { kind: 'denied', code: 'store-denied', hint: CREDENTIALS_HINT },
  ExpiredToken: { kind: 'denied', code: 'store-denied', hint: 'The session of these credentials is over: renew it.' },
  AccountProblem: { kind: 'denied', code: 'store-denied' },
  // The SDK has taken note of the server's time by now, so that the next try fits.
  RequestTimeTooSkewed: { kind: 'unavailable', code: 'store-clock', hint: CLOCK_HINT },
  RequestExpired: { kind: 'unavailable', code: 'store-clock', hint: CLOCK_HINT },
  QuotaExceeded: {
    kind: 'exhausted',
    code: 'store-full',
    hint: 'Raise the quota of the bucket or its owner, or free some space.',
  },
  EntityTooLarge: { kind: 'unsupported', code: 'store-refused' },
  AuthorizationHeaderMalformed: { kind: 'invalid', code: 'store-region', hint: REGION_HINT },
  PermanentRedirect: { kind: 'invalid', code: 'store-region', hint: REGION_HINT },
  IllegalLocationConstraintException: { kind: 'invalid', code: 'store-region', hint: REGION_HINT },
  RequestTimeout: { kind: 'unavailable', code: 'store-error' },
  ConditionalRequestConflict: { kind: 'unavailable', code: 'store-conflict' },
  OperationAborted: { kind: 'unavailable', code: 'store-conflict' },
  // The body changed on its way: the same bytes are sent again.
  BadDigest: { kind: 'unavailable', code: 'body-damaged' },
  XAmzContentSHA256Mismatch: { kind: 'unavailable', code: 'body-damaged' },
  IncompleteBody: { kind: 'unavailable', code: 'body-damaged' },
};

const UNREACHABLE_HINT = 'Check the network and the endpoint, then run the same command again.';

/** For a 404 that does not say which thing of S3 is missing. */
const BETWEEN_HINT =
  'Something between here and the store answered, it seems: check the endpoint, and proxies in front of the store.';

/** By the status of the answer, where its code says nothing more. */
const BY_STATUS: Readonly<Record<number, Row>> = {
  301: { kind: 'invalid', code: 'store-region', hint: REGION_HINT },
  307: { kind: 'unavailable', code: 'store-error' },
  401: { kind: 'denied', code: 'store-denied', hint: CREDENTIALS_HINT },
  403: {
    kind: 'denied',
    code: 'store-denied',
    hint: 'Give these credentials the right to read, write, list and delete there.',
  },
  404: { kind: 'unavailable', code: 'store-unreachable', hint: BETWEEN_HINT },
  408: { kind: 'unavailable', code: 'store-error' },
  409: { kind: 'unavailable', code: 'store-conflict' },
  429: { kind: 'unavailable', code: 'store-busy' },
  501: { kind: 'unsupported', code: 'store-refused', hint: '`sgw store check` shows what this server is able to do.' },
  503: { kind: 'unavailable', code: 'store-busy' },
  507: { kind: 'exhausted', code: 'store-full', hint: 'Free some space in the store.' },
};

/** Node.js's names for what keeps a request from being answered. */
const NETWORK: ReadonlySet<string> = new Set([
  ...[
    'ECONNREFUSED',
    'ECONNRESET',
    'ECONNABORTED',
    'EPIPE',
    'EHOSTUNREACH',
    'ENETUNREACH',
    'ENETDOWN',
    'EADDRNOTAVAIL',
  ],
  ...['ENOTFOUND', 'EAI_AGAIN', 'EPROTO', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_SOCKET_CLOSED'],
]);
const CERTIFICATE = /^(?:CERT_|DEPTH_ZERO_SELF_SIGNED|SELF_SIGNED_CERT|UNABLE_TO_|ERR_TLS_CERT|HOSTNAME_MISMATCH)/;

/** What is asked, for the message: `PUT volumes/...`. */
export interface Asked {
  readonly what: string;
  readonly place: S3Place;
}

/** The HTTP status of what the SDK threw, if there was an answer. */
export const statusOf = (error: unknown): number | undefined => (error as SdkFailure).$metadata?.httpStatusCode;

/** The code in an error document; the SDK's name of it where there is none. */
const codeOf = (error: unknown): string | undefined => (error as SdkFailure).Code ?? (error as SdkFailure).name;

/** Whether S3 says that there is no such object. A 404 alone may be of anything on the way, a proxy for one. */
export const isNoSuchKey = (error: unknown): boolean => statusOf(error) === 404 && codeOf(error) === 'NoSuchKey';

/** The same for an answer to HEAD, which has no body and so no code: S3 is known by the id that it gives each request. */
export const isAbsentToHead = (error: unknown): boolean =>
  statusOf(error) === 404 && (error as SdkFailure).$metadata?.requestId !== undefined;

/** Whether it is of a 404, whoever answered that. */
export const isNotFound = (error: unknown): boolean => error instanceof SgwError && error.details['status'] === 404;

/** Turns what the SDK threw into an error of sgw. */
export function s3Failure(error: unknown, asked: Asked): SgwError {
  if (error instanceof SgwError) return error;
  if (!(error instanceof Error)) return toSgwError(error);
  const status = statusOf(error);
  return status === undefined || status < 300 ? unanswered(error, asked) : answered(error, status, asked);
}

function answered(error: Error, status: number, { what, place }: Asked): SgwError {
  const name = codeOf(error);
  const row = (name === undefined ? undefined : BY_CODE[name]) ?? BY_STATUS[status] ?? otherStatus(status);
  const called = name === undefined || !/^\w{1,64}$/.test(name) || name === 'Error' ? '' : ` ${name}`;
  const requestId = (error as SdkFailure).$metadata?.requestId;
  return failure(row, `the store answered ${String(status)}${called} to ${what}`, place, {
    status,
    ...(called === '' ? {} : { answer: called.slice(1) }),
    ...(requestId === undefined ? {} : { requestId }),
  });
}

function otherStatus(status: number): Row {
  return status >= 500 ? { kind: 'unavailable', code: 'store-error' } : { kind: 'unsupported', code: 'store-refused' };
}

/** No answer, or one that is not whole. */
function unanswered(error: Error, { what, place }: Asked): SgwError {
  const { name = '', code = '' } = error as SdkFailure;
  if (/Credentials|TokenProvider|Token/.test(name) && name.endsWith('Error') && name !== 'TokenizeError')
    return failure(
      { kind: 'denied', code: 'store-credentials', hint: CREDENTIALS_HINT },
      'there are no credentials for the store',
      place,
    );
  if (error.message.startsWith('Region is missing'))
    return failure(
      { kind: 'invalid', code: 'store-region', hint: REGION_HINT },
      'no region is known for the store',
      place,
    );
  const network = [error, ...((error as SdkFailure).errors ?? []), error.cause]
    .map((cause) => (cause as SdkFailure | undefined)?.code)
    .find((found) => found !== undefined && (NETWORK.has(found) || CERTIFICATE.test(found)));
  // The SDK calls some broken connections timeouts too.
  if (network === undefined && (name === 'TimeoutError' || code === 'ETIMEDOUT'))
    return failure(
      { kind: 'timeout', code: 'store-timeout', hint: UNREACHABLE_HINT },
      `the store did not answer ${what} in time`,
      place,
    );
  if (network !== undefined && CERTIFICATE.test(network))
    return failure(
      {
        kind: 'denied',
        code: 'store-certificate',
        hint: 'Trust its certificate authority with NODE_EXTRA_CA_CERTS, or correct the endpoint.',
      },
      `the certificate of the store is not trusted (${network})`,
      place,
    );
  const why = network ?? (/^[A-Z_]{3,40}$/.test(code) ? code : name);
  return failure(
    { kind: 'unavailable', code: 'store-unreachable', hint: UNREACHABLE_HINT },
    `the store could not be asked to ${what} (${why})`,
    place,
  );
}

function failure(row: Row, message: string, place: S3Place, details: ErrorDetails = {}): SgwError {
  return new SgwError(row.kind, row.code, message, {
    ...(row.hint === undefined ? {} : { hint: row.hint }),
    details: { store: formatS3Place(place), ...details },
  });
}
