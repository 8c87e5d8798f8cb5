/** The names of what may go wrong between the service and a gateway. The only place that spells them. */
import { SgwError } from '../../kit/index.ts';

const TRY_AGAIN = 'Try again in a moment.';

export function gatewayNotConnected(gatewayId: string): SgwError {
  return new SgwError('unavailable', 'gateway-not-connected', `gateway ${gatewayId} is not connected to the service`, {
    hint: 'Its daemon may not run, or it has no way to the service: look at `sgw status` on its machine.',
    details: { gatewayId },
  });
}

export function gatewayBusy(gatewayId: string, calls: number): SgwError {
  return new SgwError('unavailable', 'gateway-busy', `gateway ${gatewayId} has ${String(calls)} calls under way`, {
    hint: 'Wait until some of them are done.',
    details: { gatewayId },
  });
}

export function gatewayTimedOut(deadlineMs: number): SgwError {
  return new SgwError(
    'timeout',
    'gateway-timed-out',
    `the gateway did not answer within ${String(Math.ceil(deadlineMs / 1000))} s`,
    { hint: 'Whether it was done is not known: look, before doing it again.', details: { deadlineMs } },
  );
}

export function connectionLost(gatewayId: string): SgwError {
  return new SgwError(
    'unavailable',
    'gateway-connection-lost',
    `the connection of gateway ${gatewayId} ended before it answered`,
    { hint: 'Whether it was done is not known: look, before doing it again.', details: { gatewayId } },
  );
}

export function gatewayOutdated(gatewayId: string, software: string): SgwError {
  return new SgwError(
    'unsupported',
    'gateway-outdated',
    `gateway ${gatewayId} is of version ${software.slice(0, 32)}`,
    {
      hint: 'Update sgw on its machine.',
      details: { gatewayId, software: software.slice(0, 32) },
    },
  );
}

/** Between servers: the one that was asked does not hold the connection. */
export const notMine = (): SgwError =>
  new SgwError('unavailable', 'control-not-mine', 'this server does not hold the connection', { hint: TRY_AGAIN });

/** Between servers. `taken`: whether the other one may have begun. */
export const serverGone = (taken: boolean): SgwError =>
  new SgwError('unavailable', 'control-server-gone', 'the server that held the connection is gone', {
    hint: TRY_AGAIN,
    details: { taken },
  });

export const busUnavailable = (cause?: unknown): SgwError =>
  new SgwError('unavailable', 'control-bus-unavailable', 'the servers of the service do not reach each other', {
    hint: 'Whoever runs the service: look at NATS.',
    ...(cause === undefined ? {} : { cause }),
  });

export const serverDraining = (): SgwError =>
  new SgwError('unavailable', 'service-draining', 'this server of the service is stopping', { hint: TRY_AGAIN });

export const answerTooLong = (gatewayId: string): SgwError =>
  new SgwError('exhausted', 'answer-too-long', `what gateway ${gatewayId} answers is longer than the service takes`, {
    hint: 'Ask for less, or ask on its machine.',
    details: { gatewayId },
  });

export const requestTooLong = (): SgwError =>
  new SgwError('exhausted', 'call-too-long', 'the call has more text than one server may send another', {
    hint: 'Ask with less: fewer or shorter tags.',
  });
