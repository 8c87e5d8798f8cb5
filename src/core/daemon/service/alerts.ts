/** The watch over gateways, as a server of the service has it. */
import { systemClock, type Logger } from '../../kit/index.ts';
import { AlertWatch } from '../../service/alerts/index.ts';
import type { ControlPlane } from '../../service/controlplane/index.ts';
import type { NetworkService, ServiceKey } from '../../service/server/index.ts';

export interface AlertOptions {
  readonly service: NetworkService;
  readonly serviceKey: ServiceKey;
  readonly log: Logger;
  /** Of sgw. */
  readonly version: string;
}

/** Begins to watch. Who asked for it closes it, before the control plane. */
export function watchAlerts(
  { service, serviceKey: sealing, log, version }: AlertOptions,
  plane: ControlPlane,
  { alertAllowPrivate: allowPrivate }: { readonly alertAllowPrivate: boolean },
): AlertWatch {
  const watch = new AlertWatch({
    ...{ context: service.context, calls: plane, serverId: plane.serverId, sealing, log },
    holds: (gatewayId) => plane.holds(gatewayId),
    webhooks: { clock: systemClock, version, allowPrivate },
  });
  watch.start();
  return watch;
}
