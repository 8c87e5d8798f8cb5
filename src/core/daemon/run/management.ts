/** The connection over which the service manages a gateway that was activated there; nothing where the service is embedded. */
import type { LocalServer } from '../../control/server/index.ts';
import type { Gateway, GatewayParts } from '../../gateway/index.ts';
import { isVolumeId, type Logger } from '../../kit/index.ts';
import type { ControlConnectionDocument } from '../../localapi/index.ts';
import { openState } from '../../state/index.ts';
import type { Serving } from './serving.ts';

export interface ManagedGateway extends AsyncDisposable {
  readonly document: () => Promise<ControlConnectionDocument | undefined>;
}

/** Begins to connect. Calls that come go through `server`, under the same limits as those over the socket. */
export async function openManagement({
  home,
  gateway: opened,
  parts,
  server,
  serving,
  log,
}: {
  readonly home: string;
  readonly gateway: Pick<Gateway, 'replication'>;
  readonly parts: GatewayParts;
  readonly server: LocalServer;
  readonly serving: Serving;
  readonly log: Logger;
}): Promise<ManagedGateway> {
  const { gateway } = await openState(home);
  if (gateway?.service === undefined) {
    return { document: async () => Promise.resolve(undefined), [Symbol.asyncDispose]: async () => Promise.resolve() };
  }
  const { Management } = await import('../../gateway/remote/index.ts');
  const management = new Management(
    {
      ...{ parts, log },
      call: async (operation, call, context) =>
        server.call(operation, call, context.signal, (signal) => ({ ...context, signal })),
      reload: async () => serving.reload(),
      checkHeld: async (volumeId, signal) => serving.checkHeld(volumeId, signal),
      regroup: async () => serving.regroup(),
      isHolding: (volumeId) => isVolumeId(volumeId) && opened.replication?.holds(volumeId) === true,
    },
    gateway.service,
  );
  return {
    document: async () => management.document(),
    [Symbol.asyncDispose]: async () => {
      await management.close();
    },
  };
}
