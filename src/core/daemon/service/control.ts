/** The control plane of a server: in this process alone, or with the others over NATS. */
import type { FastifyRequest } from 'fastify';
import { SgwError, systemClock, systemRandom, type Logger } from '../../kit/index.ts';
import { noteResumed } from '../../service/aws/index.ts';
import {
  ControlPlane,
  controlFrontEnd,
  MemoryBus,
  NatsBus,
  newServerId,
  remoteOperations,
} from '../../service/controlplane/index.ts';
import type { FrontEnd, NetworkService, ServerParts, ServiceKey } from '../../service/server/index.ts';

/** What seals the words between servers, for `ServiceKey.derive`. */
const BUS_PURPOSE = 'sgw control bus 1';

export interface ControlOptions {
  readonly service: NetworkService;
  readonly serviceKey: Pick<ServiceKey, 'derive'>;
  /** `nats://HOST:PORT`; null: this server is the only one. */
  readonly nats: string | null;
  /** `HOST:PORT` that gateways connect to. */
  readonly gatewayAddress: string;
  readonly log: Logger;
}

/** Begins it. @throws unavailable `control-bus-unavailable`; invalid `bad-nats-url` */
export async function openControlPlane(options: ControlOptions, signal: AbortSignal): Promise<ControlPlane> {
  const { service, serviceKey, nats, gatewayAddress, log } = options;
  const { context, gateways, configurations, groups, takeOvers, authority } = service;
  const server = { serverId: newServerId(), address: `https://${gatewayAddress}`, clock: systemClock };
  const bus =
    nats === null
      ? new MemoryBus(server)
      : new NatsBus({ ...server, url: nats, space: context.serviceId, key: serviceKey.derive(BUS_PURPOSE), log });
  const plane = new ControlPlane({
    ...{ bus, clock: systemClock, random: systemRandom, log },
    recordOf: async (gatewayId, stop) => gateways.find(gatewayId, stop),
    certificates: authority,
    onReceipt: async (gatewayId, receipt, stop) => configurations.acknowledge(gatewayId, receipt, stop),
  });
  await plane.start(signal);
  gateways.onDeregistered((gatewayId) => {
    plane.gatewayDeregistered(gatewayId);
  });
  configurations.deliverBy(plane);
  takeOvers.askBy(plane);
  groups.tellBy((gatewayIds) => {
    plane.groupChanged(gatewayIds);
  });
  return plane;
}

type Late = () => ControlPlane | undefined;

/** @throws unavailable `service-starting` */
function begun(open: Late): ControlPlane {
  const opened = open();
  if (opened !== undefined) return opened;
  throw new SgwError('unavailable', 'service-starting', 'this server of the service is starting', {
    hint: 'Try again in a moment.',
  });
}

/** Calls on gateways, by a control plane that begins once the server listens. */
export const lateCalls = (open: Late): ServerParts['calls'] => ({
  call: async (...args) => begun(open).call(...args),
  isConnected: async (...args) => begun(open).isConnected(...args),
});

/** Its APIs: for gateways, and for who operates them from afar. */
export function controlFrontEnds(
  open: Late,
  { authenticator, gateways, audit, context }: NetworkService,
  gatewayOf: (request: FastifyRequest) => ReturnType<ServerParts['gatewayOf']>,
): FrontEnd[] {
  const late: Pick<ControlPlane, 'accept' | 'close'> = {
    accept: async (...args) => begun(open).accept(...args),
    close: async (...args) => open()?.close(...args),
  };
  const calls = lateCalls(open);
  const onResume = async (gateway: { accountId: string; gatewayId: string }, signal: AbortSignal): Promise<void> =>
    noteResumed(context, gateway, signal);
  return [controlFrontEnd(late, gatewayOf), remoteOperations({ authenticator, gateways, calls, audit, onResume })];
}
