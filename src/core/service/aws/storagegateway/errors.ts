/**
 * The one table that turns failures into the errors of the Storage Gateway API. Which exceptions and codes there are is the
 * published model's; the common ones (`ValidationException` and those about signatures) are those of all AWS APIs.
 */
import { SgwError, toSgwError, type ErrorKind } from '../../../kit/index.ts';
import type { ERROR_CODES } from './model-names.ts';
import { SerializationError, ValidationError } from './shapes.ts';

export type ErrorCode = (typeof ERROR_CODES)[number];

/** A request that can't be done, with the code that the API gives it. */
export class RequestRefused extends SgwError {
  readonly errorCode: ErrorCode;

  constructor(errorCode: ErrorCode, message: string) {
    super('invalid', 'aws-request-refused', message);
    this.errorCode = errorCode;
  }
}

/** Nobody knows who sent the request. */
export class NotAuthenticated extends SgwError {
  constructor(cause: SgwError) {
    super(cause.kind, cause.code, cause.message, { cause });
  }
}

class UnknownOperation extends SgwError {
  constructor(operation: string) {
    super('invalid', 'aws-unknown-operation', `there is no operation "${operation.slice(0, 64)}"`);
  }
}

export const unknownOperation = (operation: string): SgwError => new UnknownOperation(operation);

export const notServed = (operation: string): SgwError =>
  new RequestRefused('NotSupported', `${operation} is of tape and file gateways; this service has volume gateways`);

/** What failures of the service and of gateways are called. */
export const CODES: Readonly<Record<string, ErrorCode>> = {
  'activation-claimed': 'ActivationKeyInvalid',
  'activation-key-expired': 'ActivationKeyExpired',
  'activation-key-unknown': 'ActivationKeyNotFound',
  'activation-key-used': 'ActivationKeyInvalid',
  'activation-key-wrong': 'ActivationKeyInvalid',
  'activation-withdrawn': 'ActivationKeyInvalid',
  'chap-secret-missing': 'ChapCredentialNotFound',
  'clients-connected': 'VolumeInUse',
  'export-denied': 'CannotExportSnapshot',
  'export-ending': 'VolumeInUse',
  'export-not-ready': 'VolumeNotReady',
  'gateway-busy': 'GatewayProxyNetworkConnectionBusy',
  'gateway-connection-lost': 'GatewayNotConnected',
  'gateway-deregistered': 'GatewayNotFound',
  'gateway-not-connected': 'GatewayNotConnected',
  'gateway-not-found': 'GatewayNotFound',
  'gateway-outdated': 'OutdatedGateway',
  'gateway-stopped': 'GatewayNotConnected',
  'gateway-stopping': 'GatewayNotConnected',
  'gateway-suspended': 'GatewayNotConnected',
  'gateway-timed-out': 'RequestTimeout',
  'daemon-needed': 'GatewayNotConnected',
  'bad-iscsi-name': 'InvalidParameters',
  'bad-region': 'RegionInvalid',
  'image-in-use': 'DiskAlreadyAllocated',
  'import-unfinished': 'VolumeNotReady',
  'initiator-denied': 'InitiatorInvalid',
  'initiator-not-found': 'ChapCredentialNotFound',
  'log-full': 'StagingAreaFull',
  'log-too-small': 'StagingAreaFull',
  'no-room': 'LocalStorageLimitExceeded',
  'not-an-image': 'DiskDoesNotExist',
  'not-attached': 'VolumeNotReady',
  'not-over-iscsi': 'TargetNotFound',
  'recovery-point-not-found': 'VolumeNotReady',
  'remote-management-off': 'UnauthorizedOperation',
  'schedule-not-found': 'SnapshotScheduleNotFound',
  'smaller-than-snapshot': 'InvalidParameters',
  'snapshot-deleted': 'SnapshotDeleted',
  'snapshot-not-completed': 'SnapshotInProgress',
  'snapshot-not-found': 'SnapshotNotFound',
  'snapshot-pending': 'SnapshotInProgress',
  'store-full': 'StorageFailure',
  'system-enoent': 'DiskDoesNotExist',
  'system-enospc': 'LocalStorageLimitExceeded',
  'target-exists': 'TargetAlreadyExists',
  'target-in-use': 'DiskAlreadyAllocated',
  'target-not-found': 'TargetNotFound',
  'volume-attached': 'VolumeInUse',
  'volume-deleted': 'VolumeNotFound',
  'volume-exists': 'VolumeAlreadyExists',
  'volume-held': 'VolumeInUse',
  'volume-in-group': 'VolumeInUse',
  'volume-not-found': 'VolumeNotFound',
  'volumes-attached': 'VolumeInUse',
  'wrong-mode': 'NotSupported',
};

/** What is not in the table. Null: not the client's doing. */
const KINDS: Readonly<Record<ErrorKind, ErrorCode | null>> = {
  invalid: 'InvalidParameters',
  readOnly: 'InvalidParameters',
  notFound: 'InvalidParameters',
  conflict: 'InvalidParameters',
  fenced: 'VolumeInUse',
  denied: 'UnauthorizedOperation',
  exhausted: 'LocalStorageLimitExceeded',
  unavailable: null,
  timeout: null,
  corrupt: null,
  unsupported: 'NotSupported',
  aborted: 'OperationAborted',
  internal: null,
};

/** Of the signature: as the other APIs of AWS answer. */
const AUTHENTICATION: Readonly<Record<string, string>> = {
  'signature-missing': 'MissingAuthenticationTokenException',
  'signature-wrong': 'InvalidSignatureException',
  'request-stale': 'InvalidSignatureException',
  'access-key-unknown': 'UnrecognizedClientException',
  'bad-signature-form': 'IncompleteSignatureException',
  'signature-in-query': 'IncompleteSignatureException',
  'signature-streaming': 'IncompleteSignatureException',
};

/** These two say that they can be repeated. */
const SNAPSHOT_OPERATIONS: readonly string[] = ['CreateSnapshot', 'CreateSnapshotFromVolumeRecoveryPoint'];

interface Answer {
  readonly status: number;
  readonly body: object;
}

/** What an account has too much of; of what is not here there is no code of its own. */
const QUOTAS: Readonly<Record<string, ErrorCode>> = {
  volumes: 'MaximumVolumeCountExceeded',
  volumeBytes: 'LocalStorageLimitExceeded',
};

/** The code of a failure; null when it is not the client's doing. */
function errorCodeOf(failure: SgwError): ErrorCode | null {
  if (failure instanceof RequestRefused) return failure.errorCode;
  const { limit } = failure.details;
  if (failure.code === 'quota-exceeded' && typeof limit === 'string') return QUOTAS[limit] ?? KINDS[failure.kind];
  return CODES[failure.code] ?? KINDS[failure.kind];
}

/** Whether the failure is of the service, or of what it stands on. */
export const isFault = (failure: SgwError): boolean =>
  !(failure instanceof NotAuthenticated) && errorCodeOf(failure) === null;

/** What `operation`, or an unknown one, is answered with. What went wrong inside is not told. */
export function answerTo(operation: string, error: unknown): Answer {
  const failure = toSgwError(error);
  if (failure instanceof ValidationError) return common('ValidationException', failure.message);
  if (failure instanceof SerializationError) return common('SerializationException', failure.message);
  if (failure instanceof UnknownOperation) return { status: 400, body: { __type: 'UnknownOperationException' } };
  if (failure instanceof NotAuthenticated)
    return common(AUTHENTICATION[failure.code] ?? 'AccessDeniedException', failure.message, 403);
  const errorCode = errorCodeOf(failure);
  if (errorCode !== null) return modelled(400, 'InvalidGatewayRequestException', failure.message, errorCode);
  const mayPass = failure.kind === 'unavailable' || failure.kind === 'timeout';
  if (mayPass && SNAPSHOT_OPERATIONS.includes(operation))
    return modelled(503, 'ServiceUnavailableError', 'the store can not be reached now', 'ServiceUnavailable');
  return modelled(500, 'InternalServerError', 'the request failed in the service', 'InternalError');
}

/** What the server refuses before an operation is looked at. */
export function answerToServer(error: unknown): Answer {
  const failure = toSgwError(error);
  const { statusCode = 500 } = error as { readonly statusCode?: number };
  if (failure.code === 'too-many-requests') return common('ThrottlingException', failure.message);
  if (failure.kind === 'unavailable') return common('ServiceUnavailableException', failure.message, 503);
  if (!(error instanceof SgwError) && statusCode >= 400 && statusCode < 500)
    return common('SerializationException', 'the request can not be read, or is too large', statusCode);
  return answerTo('', failure);
}

const common = (type: string, message: string, status = 400): Answer => ({ status, body: { __type: type, message } });

const modelled = (status: number, type: string, message: string, errorCode: ErrorCode): Answer => ({
  status,
  body: { __type: type, message, error: { errorCode, errorDetails: {} } },
});
