/**
 * Frames of the control plane from their text, checked field by field: what a frame of a known kind has is as its type says.
 * Fields that are not known are left alone, so that a later version may add some.
 */
import { ERROR_KINDS, SgwError, type ErrorDocument } from '../kit/index.ts';
import type { DownFrame, UpFrame } from './control-frames.ts';
import {
  isAmount,
  isCount,
  isFlag,
  isJsonObject,
  isOfKind,
  listOf,
  objectOf,
  orNull,
  parseMessage,
  textOf,
  type Check,
  type Checks,
} from './message-checks.ts';

const ID_LENGTH_MAX = 64;
const TEXT_LENGTH_MAX = 4096;
const PEM_LENGTH_MAX = 32_768;
const SERVERS_MAX = 64;
const CODE = /^[a-z0-9][a-z0-9-]{0,63}$/;

const isText = textOf(TEXT_LENGTH_MAX);
const isPem = textOf(PEM_LENGTH_MAX);
const isAny: Check = () => true;
const isId: Check = (value) => typeof value === 'string' && value.length > 0 && value.length <= ID_LENGTH_MAX;

const isError = objectOf({
  code: (value) => typeof value === 'string' && CODE.test(value),
  kind: isText,
  message: isText,
  hint: orNull(isText),
  details: isJsonObject,
});

const UP: Readonly<Record<UpFrame['kind'], Checks>> = {
  hello: {
    versions: listOf(isCount, SERVERS_MAX),
    gatewayId: isId,
    software: textOf(ID_LENGTH_MAX),
    configurationVersion: isCount,
    remoteManagement: isFlag,
  },
  progress: { id: isId, progress: objectOf({ label: isText, doneBytes: isAmount, totalBytes: isAmount }) },
  part: { id: isId, text: (value) => typeof value === 'string' },
  result: { id: isId, result: isAny },
  error: { id: isId, error: isError },
};

const DOWN: Readonly<Record<DownFrame['kind'], Checks>> = {
  welcome: {
    version: isCount,
    serverId: isId,
    epoch: isCount,
    pingMs: isCount,
    servers: listOf(isText, SERVERS_MAX),
  },
  refused: { error: isError },
  call: { id: isId, operation: isText, input: isJsonObject, lockTimeoutMs: isCount, deadlineMs: isCount },
  cancel: { id: isId },
  configuration: {
    id: isId,
    configuration: objectOf({ version: isCount, name: isText, mode: isText, region: isText, serving: isJsonObject }),
  },
  renew: { id: isId },
  certificate: { id: isId, certificate: isPem, caCertificate: isPem, expiresAt: isText },
  holding: { id: isId, volumeId: isText },
  group: { id: isId },
  fenced: { id: isId, volumeId: isText, byGatewayId: orNull(isText), epoch: isCount },
};

/** A frame of a gateway; undefined when the text is none. */
export function readUpFrame(text: string): UpFrame | undefined {
  const frame = parseMessage(text);
  return frame !== undefined && isOfKind(UP, frame) ? (frame as unknown as UpFrame) : undefined;
}

/** A kind that a later version may have; `id` where it asks for an answer. */
export interface UnknownFrame {
  readonly kind: 'unknown';
  readonly id: string | undefined;
}

/** A frame of the service; undefined when the text is none. */
export function readDownFrame(text: string): DownFrame | UnknownFrame | undefined {
  const frame = parseMessage(text);
  if (frame === undefined) return undefined;
  if (isOfKind(DOWN, frame)) return frame as unknown as DownFrame;
  const { kind, id } = frame;
  if (typeof kind !== 'string' || Object.hasOwn(DOWN, kind)) return undefined;
  return { kind: 'unknown', id: isId(id) ? (id as string) : undefined };
}

/** What a peer says that failed, as an error of ours. A kind that is not known here is `internal`. */
export function sentError(document: ErrorDocument): SgwError {
  const kind = Object.hasOwn(ERROR_KINDS, document.kind) ? document.kind : 'internal';
  return SgwError.fromDocument({ ...document, kind });
}
