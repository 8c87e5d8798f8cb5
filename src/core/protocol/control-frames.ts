/**
 * The control plane (mechanisms, S3): what goes over the WebSocket that a gateway opens to a control server and keeps. One
 * frame is one text message of JSON. docs/formats/control-frames.md.
 *
 * States: `hello` (up) -> `welcome` or `refused` (down) -> requests, downwards only, each answered upwards by its id.
 * Invariants: after `hello` the gateway sends nothing that was not asked for; a request is answered once, by `result` or
 * `error`, unless the connection ends first. Pings are those of the WebSocket, by the server.
 */
import type { ErrorDocument } from '../kit/index.ts';
import type { GatewayConfiguration } from './configuration.ts';

export const CONTROL_PATH = '/control';
/** Versions of the protocol that this program speaks, the best one first. */
export const CONTROL_VERSIONS: readonly number[] = [1];
/** Of one message, either way. */
export const CONTROL_FRAME_BYTES_MAX = 1 << 20;
/** A result that is longer goes in `part` frames of this many UTF-16 code units at most. */
export const CONTROL_PART_LENGTH = 128 << 10;
/** Of one result, as JSON. */
export const CONTROL_RESULT_LENGTH_MAX = 32 << 20;
/** Calls under way on one gateway. More are refused with `gateway-busy`. */
export const CONTROL_CALLS_MAX = 16;

/** Why the server ends a connection: codes of a WebSocket's close. The gateway acts by them, not by the reason's text. */
export const CONTROL_CLOSE = {
  /** The server is leaving: another one is to be found at once. */
  draining: 4001,
  /** A newer connection of the same gateway is there. */
  replaced: 4002,
  /** The gateway is deregistered, or its certificate is not taken: not to be tried again soon. */
  refused: 4003,
  /** The other side broke the protocol. */
  badFrame: 4004,
  /** Too much waits to be read. */
  overrun: 4005,
  /** The bus between the servers has no place for the connection now. */
  unregistered: 4006,
} as const;

/** The first frame, by the gateway. */
export interface HelloFrame {
  readonly kind: 'hello';
  readonly versions: readonly number[];
  /** Must be the one of the certificate. */
  readonly gatewayId: string;
  /** Of sgw. */
  readonly software: string;
  /** Of the configuration that it has from the service; 0: none. */
  readonly configurationVersion: number;
  /** Whether the operator on the spot lets the service operate the gateway. */
  readonly remoteManagement: boolean;
}

export interface WelcomeFrame {
  readonly kind: 'welcome';
  readonly version: number;
  readonly serverId: string;
  /** Of the connection: grows with each connection of the gateway, whichever server holds it. */
  readonly epoch: number;
  /** A ping comes at least this often: silence for much longer means that the connection is gone. */
  readonly pingMs: number;
  /** `https://HOST:PORT` of the servers that a connection may be opened to, this one too. */
  readonly servers: readonly string[];
}

/** Instead of `welcome`; the connection is closed after it. */
export interface RefusedFrame {
  readonly kind: 'refused';
  readonly error: ErrorDocument;
}

/** Requests: down. Each is answered by `result` or `error` with its id. */
export type ControlRequest =
  /** An operation of the local API. `deadlineMs` is what is left of its time. */
  | {
      readonly kind: 'call';
      readonly id: string;
      readonly operation: string;
      readonly input: object;
      readonly lockTimeoutMs: number;
      readonly deadlineMs: number;
    }
  /** What the provider wants the gateway to be. Answered with a `ConfigurationReceipt`. */
  | { readonly kind: 'configuration'; readonly id: string; readonly configuration: GatewayConfiguration }
  /** A new certificate is due. Answered with `{csr}`, PEM. */
  | { readonly kind: 'renew'; readonly id: string }
  /** The certificate for that; PEM. */
  | {
      readonly kind: 'certificate';
      readonly id: string;
      readonly certificate: string;
      readonly caCertificate: string;
      readonly expiresAt: string;
    }
  /** Another gateway has taken a volume over (C6). */
  | {
      readonly kind: 'fenced';
      readonly id: string;
      readonly volumeId: string;
      readonly byGatewayId: string | null;
      readonly epoch: number;
    }
  /** Whether the gateway holds a volume of its group under a lease that is valid now. Answered with `{holding}`. */
  | { readonly kind: 'holding'; readonly id: string; readonly volumeId: string }
  /** The group that the gateway is in, or was, is another one now. Answered with `{}` once a running gateway has looked. */
  | { readonly kind: 'group'; readonly id: string };

/** Down. One of a kind that the gateway does not know is answered with `gateway-outdated` if it has an id, else ignored. */
export type DownFrame =
  | WelcomeFrame
  | RefusedFrame
  | ControlRequest
  /** Nobody waits for the answer any more. Answered by nothing of its own. */
  | { readonly kind: 'cancel'; readonly id: string };

/** Up. */
export type UpFrame =
  | HelloFrame
  | {
      readonly kind: 'progress';
      readonly id: string;
      readonly progress: { readonly label: string; readonly doneBytes: number; readonly totalBytes: number };
    }
  /** A piece of the JSON of a long result; `result` without `result` comes after the last. */
  | { readonly kind: 'part'; readonly id: string; readonly text: string }
  | { readonly kind: 'result'; readonly id: string; readonly result?: unknown }
  | { readonly kind: 'error'; readonly id: string; readonly error: ErrorDocument };
