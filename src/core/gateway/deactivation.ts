/** Taking the identity from a home. The store, and all that is in it, stays. */
import { Catalog } from '../blockstore/index.ts';
import type { CallContext, DeactivationDocument } from '../localapi/index.ts';
import { updateState, type GatewayState } from '../state/index.ts';
import { requireNothingAttached, requireNothingHeld } from './configuration.ts';
import { whileActivating } from './handshake.ts';
import { readPrivateKey, removePrivateKey } from './key-file.ts';
import type { GatewayParts } from './parts.ts';
import type { Session } from './session.ts';
import { openableStore } from './store-place.ts';

/**
 * Tells the service, then forgets the identity, then destroys the private key: stopped at any point, the same command goes
 * on. Durable when it resolves.
 * @throws conflict `volumes-attached` while this gateway holds a volume; unavailable and the like when the store, and with
 * it the service, is out of reach
 */
export async function deactivate(
  parts: GatewayParts,
  record: GatewayState,
  session: Session,
  call: CallContext,
): Promise<DeactivationDocument> {
  const { home, clock } = parts;
  requireNothingAttached(record, 'the gateway can not be deactivated');
  return await whileActivating(home, call, async () => {
    await requireNothingHeld(
      new Catalog(session.blocks),
      { gatewayId: record.gatewayId, what: 'the gateway can not be deactivated' },
      call,
    );
    await tellService(parts, record, session, call);
    await updateState(
      home,
      (state) => {
        state.gateway = null;
        state.activation = null;
      },
      { lockTimeoutMs: call.lockTimeoutMs, signal: call.signal },
    );
    await removePrivateKey(home);
    const { removeChapFile } = await import('./serving/chap-file.ts');
    await removeChapFile(home);
    return {
      gatewayId: record.gatewayId,
      name: record.name,
      home,
      store: openableStore(home, record.store),
      deactivatedAt: new Date(clock.nowMs()).toISOString(),
    };
  });
}

/** With its own signature, or, when the key is lost, as the operator. One that was never enrolled has nothing to tell. */
async function tellService(
  { home }: GatewayParts,
  { gatewayId, credential }: GatewayState,
  { service }: Session,
  call: CallContext,
): Promise<void> {
  if (credential === null) return;
  const hasKey = (await readPrivateKey(home).catch(() => undefined)) !== undefined;
  if (hasKey) await service.ask('gateway.deregister', {}, call);
  else await service.operate('gateway.remove', { gatewayId }, call);
}
