/** Failures as the EBS direct API tells them: `reference/aws-wire.md`, and the errors of the service's published model. */
import { toSgwError, type SgwError } from '../../../kit/index.ts';
import { badParameter } from '../../blocks/refusals.ts';

/** The errors of the model, and those of AWS that are about signatures. */
export interface EbsFailure {
  readonly status: number;
  readonly type: string;
  /** Absent where the error has none. */
  readonly reason?: string;
}

const validation = (reason: string): EbsFailure => ({ status: 400, type: 'ValidationException', reason });
const conflict: EbsFailure = { status: 409, type: 'ConflictException' };
const notFound: EbsFailure = { status: 404, type: 'ResourceNotFoundException', reason: 'SNAPSHOT_NOT_FOUND' };
const accessDenied: EbsFailure = { status: 403, type: 'AccessDeniedException', reason: 'UNAUTHORIZED_ACCOUNT' };
const throttled = (reason: string): EbsFailure => ({ status: 400, type: 'RequestThrottledException', reason });
const quota: EbsFailure = {
  status: 402,
  type: 'ServiceQuotaExceededException',
  reason: 'DEPENDENCY_SERVICE_QUOTA_EXCEEDED',
};
const limit: EbsFailure = { status: 400, type: 'ConcurrentLimitExceededException' };
const internal: EbsFailure = { status: 500, type: 'InternalServerException' };
const unavailable: EbsFailure = { status: 503, type: 'ServiceUnavailable' };

/** By code; what is not here goes by its kind. */
const BY_CODE: Readonly<Record<string, EbsFailure>> = {
  'snapshot-not-found': notFound,
  'export-denied': accessDenied,
  'quota-exceeded': quota,
  'snapshot-not-completed': validation('INVALID_SNAPSHOT_ID'),
  'snapshot-deleted': notFound,
  'unrelated-snapshots': validation('UNRELATED_SNAPSHOTS'),
  'block-token-wrong': validation('INVALID_BLOCK_TOKEN'),
  'page-token-wrong': validation('INVALID_PAGE_TOKEN'),
  'block-out-of-range': validation('INVALID_BLOCK'),
  'block-checksum-wrong': validation('INVALID_BLOCK'),
  'block-write-conflict': validation('CONFLICTING_BLOCK_UPDATE'),
  'block-count-wrong': validation('INVALID_PARAMETER_VALUE'),
  'body-late': validation('WRITE_REQUEST_TIMEOUT'),
  'bad-content-encoding': validation('INVALID_CONTENT_ENCODING'),
  'bad-snapshot-id': validation('INVALID_SNAPSHOT_ID'),
  'bad-tag': validation('INVALID_TAG'),
  'bad-volume-size': validation('INVALID_VOLUME_SIZE'),
  'smaller-than-snapshot': validation('INVALID_VOLUME_SIZE'),
  'blocks-sealed-store': validation('INVALID_CUSTOMER_KEY'),
  'upload-sealed-store': validation('INVALID_CUSTOMER_KEY'),
  'key-needed': validation('INVALID_CUSTOMER_KEY'),
  'upload-not-open': validation('INVALID_SNAPSHOT_ID'),
  'upload-claimed-otherwise': conflict,
  'client-token-reused': conflict,
  'too-many-uploads': limit,
  'too-many-requests': throttled('ACCOUNT_THROTTLED'),
  'server-busy': throttled('RESOURCE_LEVEL_THROTTLE'),
  'signature-missing': { status: 403, type: 'MissingAuthenticationTokenException' },
  'signature-wrong': { status: 403, type: 'InvalidSignatureException' },
  'request-stale': { status: 403, type: 'InvalidSignatureException' },
  'bad-signature-form': { status: 400, type: 'IncompleteSignatureException' },
  'signature-in-query': { status: 400, type: 'IncompleteSignatureException' },
  'signature-streaming': { status: 400, type: 'IncompleteSignatureException' },
};

const BY_KIND: Readonly<Partial<Record<SgwError['kind'], EbsFailure>>> = {
  invalid: validation('INVALID_PARAMETER_VALUE'),
  notFound,
  conflict,
  denied: accessDenied,
  unsupported: validation('INVALID_PARAMETER_VALUE'),
  exhausted: quota,
  unavailable,
  timeout: unavailable,
  aborted: unavailable,
};

/** Of the model; longer ones are cut. */
const MESSAGE_CHARACTERS_MAX = 256;

export interface EbsAnswer extends EbsFailure {
  readonly body: { readonly Message: string; readonly Reason?: string };
  /** What nobody expected, for the log; the client learns only that it is so. */
  readonly bug: SgwError | null;
}

export function ebsAnswerOf(error: unknown): EbsAnswer {
  const failure = refusalOf(error) ?? toSgwError(error);
  const row = BY_CODE[failure.code] ?? BY_KIND[failure.kind] ?? internal;
  const isOurs = row === internal;
  const message = isOurs ? 'the service could not answer; its log tells more' : failure.message;
  const reason = row.reason === undefined ? {} : { Reason: row.reason };
  return {
    ...row,
    body: { Message: message.slice(0, MESSAGE_CHARACTERS_MAX), ...reason },
    bug: isOurs ? failure : null,
  };
}

/** fastify's own refusals are of requests that can't be read. */
function refusalOf(error: unknown): SgwError | undefined {
  const { statusCode, code } = error as { readonly statusCode?: unknown; readonly code?: unknown };
  const isRefusal = typeof code === 'string' && code.startsWith('FST_') && Number(statusCode) < 500;
  return isRefusal ? badParameter('the request can not be read') : undefined;
}
