/**
 * The local API on a socket: what is asked and answered by HTTP, between room `client` and room `control`.
 *
 * A call is `POST /v1/<operation>` with a `CallRequest`. The answer is a line of JSON for each `CallLine`; the last one is the
 * result or the error, and an answer that ends without it was cut off. The status is that of the error when nothing came
 * before it, else 200. Who ends the request ends the call. A secret is asked for by a line, and given by
 * `POST /v1/answers/<ask id>` with a `SecretAnswer`, so that nobody is asked for what is not needed.
 */
import { SgwError, type ErrorDocument } from '../kit/index.ts';
import type { KeySecret, OperationName, Progress, Secrets } from './operations.ts';

export const PING_PATH = '/v1/ping';
export const METRICS_PATH = '/metrics';
export const callPath = (operation: OperationName): string => `/v1/${operation}`;
export const answerPath = (askId: string): string => `/v1/answers/${askId}`;

/** A call that came when the daemon had begun to stop: nothing was done for it, and who holds the home next may be asked. */
export const notBegun = ({ kind, code, message, hint, details }: SgwError): SgwError =>
  new SgwError(kind, code, message, { details: { ...details, begun: false }, ...(hint === undefined ? {} : { hint }) });

export const wasNotBegun = (error: unknown): boolean => error instanceof SgwError && error.details['begun'] === false;

export type SecretName = keyof Secrets;

export interface CallRequest {
  readonly input: object;
  /** 12 digits; the home's own account when absent. */
  readonly accountId?: string;
  readonly lockTimeoutMs: number;
  /** Which secrets the caller can give when they are asked for. */
  readonly secrets: readonly SecretName[];
}

/** Exactly one of these is in a line. */
export interface CallLine {
  readonly progress?: Progress;
  readonly ask?: { readonly id: string; readonly secret: SecretName };
  readonly result?: unknown;
  readonly error?: ErrorDocument;
}

/** The secret, or why there is none. */
export type SecretAnswer = { readonly secret: KeySecret } | { readonly error: ErrorDocument };

export interface Pong {
  readonly pid: number;
  readonly version: string;
  readonly state: 'serving' | 'stopping';
}
