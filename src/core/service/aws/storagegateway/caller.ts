/** Who asks, and what an operation works with. */
import { SgwError, toSgwError } from '../../../kit/index.ts';
import type { GatewayDocument, Input, OperationName, Result } from '../../../localapi/index.ts';
import type { User } from '../../identity/principal.ts';
import type { ServerParts } from '../../server/front-end.ts';
import type { Background } from './background.ts';

export type ApiParts = Pick<
  ServerParts,
  'context' | 'log' | 'authenticator' | 'gateways' | 'messages' | 'calls' | 'audit' | 'region' | 'version'
>;

export interface Caller {
  readonly parts: ApiParts;
  readonly background: Background;
  readonly user: User;
  /** What is not this account's does not exist for it, also for root. */
  readonly accountId: string;
  readonly signal: AbortSignal;
  /** Until when the client waits. */
  readonly deadlineMs: number;
}

/** How long work goes on that a client does not wait for to its end. */
const LONG_MS = 6 * 60 * 60 * 1000;
/** How long a client waits before it is told that such work goes on. */
const WAIT_MS = 20_000;

/** Has the gateway do something. @throws as `GatewayCalls.call` */
export async function callGateway<N extends OperationName>(
  { parts, accountId, signal, deadlineMs }: Caller,
  gatewayId: string,
  operation: N,
  input: Input<N>,
): Promise<Result<N>> {
  const leftMs = Math.max(1, deadlineMs - parts.context.blocks.clock.nowMs());
  return await parts.calls.call(gatewayId, operation, input, { accountId, deadlineMs: leftMs, signal });
}

interface LongCall<N extends OperationName> {
  /** How long the client waits. */
  readonly waitMs?: number;
  /** What follows, whether the client waits or not. */
  readonly after?: (result: Result<N>, signal: AbortSignal) => Promise<void>;
}

/** As `callGateway`, for what may take hours: undefined when it goes on without the client. Its failure is in the log then. */
export async function callGatewayLong<N extends OperationName>(
  { parts, background, accountId }: Caller,
  gatewayId: string,
  operation: N,
  input: Input<N>,
  { waitMs = WAIT_MS, after }: LongCall<N> = {},
): Promise<Result<N> | undefined> {
  return await background.run(`${operation} on ${gatewayId}`, waitMs, async (signal) => {
    const result = await parts.calls.call(gatewayId, operation, input, { accountId, deadlineMs: LONG_MS, signal });
    await after?.(result, signal);
    return result;
  });
}

/** The gateway did not answer, and what it does is not known. */
const OUT_OF_REACH: ReadonlySet<string> = new Set([
  'gateway-not-connected',
  'gateway-connection-lost',
  'gateway-timed-out',
  'gateway-busy',
  'control-bus-unavailable',
  'service-starting',
]);

export const isOutOfReach = (error: unknown): boolean => OUT_OF_REACH.has(toSgwError(error).code);

/** What a gateway tells of itself now; undefined when it is out of reach. */
export async function lookAt(caller: Caller, gatewayId: string): Promise<GatewayDocument | undefined> {
  try {
    return await callGateway(caller, gatewayId, 'gateway.show', {});
  } catch (error) {
    if (isOutOfReach(error)) return undefined;
    throw error;
  }
}

/** @throws unavailable `gateway-not-connected` */
export async function requireLook(caller: Caller, gatewayId: string): Promise<GatewayDocument> {
  const seen = await lookAt(caller, gatewayId);
  if (seen !== undefined) return seen;
  throw new SgwError('unavailable', 'gateway-not-connected', `gateway ${gatewayId} is not connected`);
}
